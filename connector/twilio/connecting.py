"""From the connections of the settings to clients: the session that they share, and the client of each."""

from collections.abc import Callable

import aiohttp

from connector import __version__
from connector.settings import Connection
from connector.twilio.client import TwilioClient
from connector.twilio.pacing import WHOLE, Pacing, Share

# Signed addresses of media stores in Location are longer than aiohttp's 8 KiB.
LARGEST_HEADER_BYTES = 32 * 1024


def open_session() -> aiohttp.ClientSession:
    """The one session that all clients share: keeps connections alive, keeps no cookies, reads no environment.

    Its pool is unbounded, because each client bounds its own concurrency.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=30),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": f"twilio-kafka-connector/{__version__}"},
        max_field_size=LARGEST_HEADER_BYTES,
        max_line_size=LARGEST_HEADER_BYTES,
    )


def client_of(
    name: str,
    connection: Connection,
    session: aiohttp.ClientSession,
    *,
    workers: int = 1,
    share: Callable[[], Share] = lambda: WHOLE,
    on_unauthorized: Callable[[], object] | None = None,
) -> TwilioClient:
    """The client of a connection. Its concurrency is divided among the workers, its rates among the whole group."""
    return TwilioClient(
        name=name,
        account_sid=connection.account_sid,
        auth=connection.auth,
        bases=connection.bases,
        session=session,
        max_concurrency=max(1, connection.max_concurrency // workers),
        pacing=Pacing(
            calls_per_second=connection.calls_per_second,
            segments_per_second=connection.message_segments_per_second,
            share=share,
        ),
        on_unauthorized=on_unauthorized,
    )
