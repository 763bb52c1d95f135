# ruff: noqa: INP001 - run by its path, with another interpreter
"""Singer's tap-twilio as its command runs it, for the stream of messages alone and against another address.

Run by the interpreter that has tap-twilio. Environment: API_URL, ACCOUNT_SID, TOKEN, START. Writes Singer's lines.
"""

import os
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from singer.catalog import Catalog  # type: ignore[import-not-found]  # another environment
from tap_twilio.client import TwilioClient  # type: ignore[import-not-found]  # another environment
from tap_twilio.discover import discover  # type: ignore[import-not-found]  # another environment
from tap_twilio.sync import sync  # type: ignore[import-not-found]  # another environment

TWILIO = "https://api.twilio.com"


class Elsewhere(HTTPAdapter):
    """Sends Twilio's requests to API_URL."""

    def send(self, request: requests.PreparedRequest, *options: Any, **more: Any) -> requests.Response:
        """Send it there."""
        request.url = str(request.url).replace(TWILIO, os.environ["API_URL"])
        return super().send(request, *options, **more)


def catalog() -> Any:
    """The tap's own catalog with one stream selected."""
    document = discover().to_dict()
    for stream in document["streams"]:
        if stream["stream"] == "messages":
            for entry in stream["metadata"]:
                entry["metadata"]["selected"] = True
    return Catalog.from_dict(document)


account, token = os.environ["ACCOUNT_SID"], os.environ["TOKEN"]
settings = {"account_sid": account, "auth_token": token, "start_date": os.environ["START"], "lookback_window": "1"}
client = TwilioClient(account, token, "bench")
client._TwilioClient__session.mount(TWILIO, Elsewhere())  # noqa: SLF001 - the address is no setting of it
with client:
    sync(client=client, config=settings, catalog=catalog(), state={})
