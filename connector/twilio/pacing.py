"""Pacing: calls per second, and message segments per second and sender. A waiting sender delays only itself.

Twilio places 1 call per second by default and sends 1 segment per second from a long code (usage and rate limits);
it accepts more and queues it, so pacing keeps its queues short. The limits are per process.
"""

import asyncio
import math
import re
from collections.abc import Iterator, Mapping
from urllib.parse import parse_qsl

from connector.resources.rows import Request
from connector.twilio.segments import segments

REMEMBERED_SENDERS = 10_000

_PACED = re.compile(r"^/2010-04-01/Accounts/[^/]+/(Calls|Messages)\.json$")


class Pace:
    """A schedule with a fixed rate: each caller is told its turn, and the next one comes `units / rate` later.

    A leaky bucket would refuse a message of more segments than a second holds; here it goes and its successor waits.
    """

    __slots__ = ("free_at", "rate")

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.free_at = float("-inf")

    def reserve(self, units: float, *, now: float, until: float = math.inf) -> float:
        """Seconds to wait from now; the turn is taken whether or not the caller waits for it.

        A turn that would come after `until` is not taken.
        """
        start = max(now, self.free_at)
        if start <= until:
            self.free_at = start + units / self.rate
        return start - now


class Pacing:
    """The paces of one connection. A rate of 0 is unpaced.

    `segments_per_second` holds rates by sender, and `default` for all others.
    """

    def __init__(self, *, calls_per_second: float = 0, segments_per_second: Mapping[str, float] | None = None) -> None:
        self._calls = Pace(calls_per_second) if calls_per_second else None
        self._rates = dict(segments_per_second or {})
        self._default = self._rates.pop("default", 0)
        self._senders: dict[str, Pace] = {}

    async def turn(self, request: Request, *, until: float = math.inf) -> None:
        """Wait until this request may go out. Only creating calls and messages is paced.

        A turn after `until` (loop time) is left to others: the caller waits for `until` and raises TimeoutError.
        """
        if request.method != "POST" or not (found := _PACED.match(request.path)):
            return
        now = asyncio.get_running_loop().time()
        if found[1] == "Calls":
            delay = self._calls.reserve(1, now=now, until=until) if self._calls else 0
        else:
            delay = self._message(request, now=now, until=until)
        if delay > 0:
            await asyncio.sleep(min(delay, until - now))
        if now + delay > until:
            raise TimeoutError

    def _message(self, request: Request, *, now: float, until: float) -> float:
        if not self._default and not self._rates:
            return 0
        fields = dict(_fields(request))
        sender = fields.get("From") or fields.get("MessagingServiceSid", "")
        rate = self._rates.get(sender, self._default)
        if not rate:
            return 0
        if sender not in self._senders:
            self._forget(now)
            self._senders[sender] = Pace(rate)
        return self._senders[sender].reserve(_units(sender, fields), now=now, until=until)

    def _forget(self, now: float) -> None:
        """A sender whose turn is free again is like one never seen; if all are busy, the least busy half goes."""
        if len(self._senders) < REMEMBERED_SENDERS:
            return
        busy = {sender: pace for sender, pace in self._senders.items() if pace.free_at > now}
        if len(busy) >= REMEMBERED_SENDERS:
            busiest = sorted(busy, key=lambda sender: busy[sender].free_at)[len(busy) // 2 :]
            busy = {sender: busy[sender] for sender in busiest}
        self._senders = busy


def _units(sender: str, fields: Mapping[str, str]) -> int:
    """Segments of a text message; a message with media or through a channel such as WhatsApp is sent whole."""
    if "MediaUrl" in fields or ":" in sender:
        return 1
    return segments(fields.get("Body", ""), smart_encoded=fields.get("SmartEncoded") == "true")


def _fields(request: Request) -> Iterator[tuple[str, str]]:
    yield from request.form or ()
    if request.form is None and request.body:
        yield from parse_qsl(request.body.decode(errors="replace"), keep_blank_values=True)
