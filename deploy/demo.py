# ruff: noqa: INP001 - a script that Compose mounts
"""The demo traffic of `make dev` for `docker compose up`, where the simulator runs in a container of its own."""

import asyncio
import json
import os
import urllib.request
from typing import Any, cast

from connector.dev.demo import traffic
from connector.dev.session import PACE
from connector.settings import load
from connector.simulator import Simulator


class RemoteSimulator:
    """What the demo needs of a simulator, by its control routes."""

    def __init__(self, url: str) -> None:
        self._url = url

    def configure(self, **changes: Any) -> None:
        """Change settings."""
        self._post("settings", changes)

    def receive(self, *, from_: str, to: str, body: str) -> None:
        """Let a message arrive."""
        self._post("inbound", {"from": from_, "to": to, "body": body})

    def _post(self, route: str, value: Any) -> None:
        body, headers = json.dumps(value).encode(), {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self._url}/_sim/{route}", data=body, headers=headers)  # noqa: S310 - http
        with urllib.request.urlopen(request, timeout=5):  # noqa: S310 - the same
            pass


def main() -> None:
    """Run until the container is stopped."""
    simulator = RemoteSimulator(os.environ["SIMULATOR_URL"])
    simulator.configure(**PACE, inbound_url=os.environ["INBOUND_URL"])
    asyncio.run(traffic(load(need_connections=False), cast("Simulator", simulator)))


if __name__ == "__main__":
    main()
