"""Signing in: tokens are tried in turns, and who has signed in holds a session until it is ended."""

import asyncio
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict

FAILURE_SECONDS = 0.5
MOST_WAITING = 10
SESSION_SECONDS = 12 * 3600
MOST_SESSIONS = 100


class Busy(Exception):
    """Too many tokens wait for their turn."""


class Gate:
    """Tries tokens one after the other. A wrong one makes the next one wait, whether that is right or wrong.

    So guessing is slow however many connections guess, and an answer's time does not tell how near a guess was.
    """

    def __init__(self, token: str) -> None:
        self._digest = _digest(token)
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._opens_at = 0.0

    async def admits(self, given: str) -> bool:
        """Whether this is the token. Raises Busy when too many wait already."""
        if self._waiting >= MOST_WAITING:
            raise Busy
        self._waiting += 1
        try:
            async with self._turn:
                await asyncio.sleep(self._opens_at - time.monotonic())
                is_right = hmac.compare_digest(_digest(given), self._digest)
                if not is_right:
                    self._opens_at = time.monotonic() + FAILURE_SECONDS
                return is_right
        finally:
            self._waiting -= 1

    def is_for(self, token: str) -> bool:
        """Whether it tries tokens against this one."""
        return hmac.compare_digest(_digest(token), self._digest)


class Sessions:
    """Browsers that are signed in: their secrets' digests, each with the cookie that carries it and its end.

    Memory only: a session ends with the process. The oldest one makes room.
    """

    def __init__(self) -> None:
        self._ends: OrderedDict[tuple[str, bytes], float] = OrderedDict()

    def begin(self, cookie: str) -> str:
        """A new session's secret, for this cookie."""
        secret = secrets.token_urlsafe(32)
        self._ends[cookie, _digest(secret)] = time.monotonic() + SESSION_SECONDS
        while len(self._ends) > MOST_SESSIONS:
            self._ends.popitem(last=False)
        return secret

    def has(self, cookie: str, secret: str) -> bool:
        """Whether this cookie's value is the secret of a session that has not ended."""
        return time.monotonic() < self._ends.get((cookie, _digest(secret)), 0.0)

    def end(self, cookie: str, secret: str) -> None:
        """End a session, if it is one."""
        self._ends.pop((cookie, _digest(secret)), None)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).digest()
