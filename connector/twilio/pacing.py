"""When a request may go: calls per second, message segments per second and sender, and how many run at once.

A waiting sender delays only itself.

Twilio places 1 call per second by default and sends 1 segment per second from a long code (usage and rate limits);
it accepts more and queues it, so pacing keeps its queues short.

A rate is that of the whole group of processes. Time is cut into slots of 1/rate seconds, the same ones everywhere, and
each slot belongs to a partition, in turn. A process uses the slots of the partitions that it holds. So the rate holds
whatever the group gives to whom, and its members need not talk to each other.

Twilio limits the concurrency of an account and does not publish the number (usage/rest-api-best-practices): the limit
grows slowly while Twilio answers and shrinks when it says 429.
"""

import asyncio
import math
import random
import re
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import parse_qsl

from connector.resources.rows import Request
from connector.twilio.segments import segments

REMEMBERED_SENDERS = 10_000
# A slot that has begun so recently may still be used: a busy event loop wakes late.
LATE_SECONDS = 0.05
# Of a slot: what times lose when they are converted.
ROUNDING = 0.01
BITS = 20
FIRST_BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 30.0
SHRINK = 0.7

_PACED = re.compile(r"^/2010-04-01/Accounts/[^/]+/(Calls|Messages)\.json$")


class Share(NamedTuple):
    """The partitions that this process holds, of how many, and since when (loop time)."""

    held: tuple[int, ...]
    partitions: int
    since: float = -math.inf

    @property
    def is_whole(self) -> bool:
        """Whether no other process holds any."""
        return len(self.held) == self.partitions

    def slot(self, first: int) -> int:
        """The first own slot that is not before this one. A process that holds nothing uses those of partition 0."""
        places = _places(self.held or (0,), self.partitions)
        cycle, number = divmod(first, self.partitions)
        index = bisect_left(places, number)
        if index == len(places):
            cycle, index = cycle + 1, 0
        return cycle * self.partitions + places[index]


WHOLE = Share((0,), 1)


@lru_cache(maxsize=64)
def _places(held: tuple[int, ...], partitions: int) -> list[int]:
    """Where in a cycle the slots of these partitions are.

    Neighbours are far apart, since a process holds neighbouring partitions, and should not wait long for a slot.
    """
    order = sorted(range(partitions), key=lambda partition: f"{partition:0{BITS}b}"[::-1])
    return [place for place, partition in enumerate(order) if partition in held]


class Pace:
    """Turns at a fixed rate, first come, first served: after one of so many units the next comes `units / rate` later.

    A leaky bucket would refuse a message of more segments than a second holds; here it goes and its successor waits.
    `wall` gives the time that all processes share, in seconds.
    """

    __slots__ = ("_queue", "_share", "_wall", "free_at", "rate")

    def __init__(
        self, rate: float, *, share: Callable[[], Share] = lambda: WHOLE, wall: Callable[[], float] = time.time
    ) -> None:
        self.rate = rate
        self.free_at = -math.inf
        self._share = share
        self._wall = wall
        self._queue = asyncio.Lock()

    async def turn(self, units: int, *, until: float = math.inf) -> None:
        """Wait for a turn, and take it. Raises TimeoutError at `until` (loop time), and takes none then."""
        clock = asyncio.get_running_loop().time
        async with asyncio.timeout_at(None if until == math.inf else until):
            async with self._queue:
                begin = await self._begin(until)
                if begin <= until:
                    self.take(units, begin=begin, now=clock())
                    return
            # The turn is left to those behind.
            await asyncio.sleep(until - clock())
            raise TimeoutError

    async def _begin(self, until: float) -> float:
        """Wait for the beginning of the next turn, unless it is after `until`."""
        clock = asyncio.get_running_loop().time
        while True:
            share, begin = self._share(), self.next(clock())
            if begin > until:
                return begin
            if (delay := begin - clock()) > 0:
                await asyncio.sleep(delay)
            if self._share() == share:
                return begin

    def next(self, now: float) -> float:
        """When the next turn is (loop time), as things are now.

        The former holder of a partition may have taken its last turn directly before this process got it.
        """
        share = self._share()
        free_at = max(self.free_at, share.since + 1 / self.rate)
        if share.is_whole:
            return max(now, free_at)
        ahead = self._wall() - now
        first = math.ceil((max(now - LATE_SECONDS, free_at) + ahead) * self.rate - ROUNDING)
        return share.slot(first) / self.rate - ahead

    def take(self, units: int, *, begin: float, now: float) -> None:
        """Take the turn that `next` has told."""
        share = self._share()
        if share.is_whole:
            self.free_at = begin + units / self.rate
            return
        ahead = self._wall() - now
        slot = round((begin + ahead) * self.rate)
        for _ in range(units):
            slot = share.slot(slot + 1)
        self.free_at = slot / self.rate - ahead


class Pacing:
    """The paces of one connection. A rate of 0 is unpaced.

    `segments_per_second` holds rates by sender, and `default` for all others. `share` tells this process's part.
    """

    def __init__(
        self,
        *,
        calls_per_second: float = 0,
        segments_per_second: Mapping[str, float] | None = None,
        share: Callable[[], Share] = lambda: WHOLE,
    ) -> None:
        self._share = share
        self._calls = Pace(calls_per_second, share=share) if calls_per_second else None
        self._rates = dict(segments_per_second or {})
        self._default = self._rates.pop("default", 0)
        self._senders: dict[str, Pace] = {}

    async def turn(self, request: Request, *, until: float = math.inf) -> None:
        """Wait until this request may go out. Only creating calls and messages is paced.

        Raises TimeoutError at `until` (loop time); its turn is left to others then.
        """
        if request.method != "POST" or not (found := _PACED.match(request.path)):
            return
        if found[1] == "Messages":
            await self._message(request, until)
        elif self._calls is not None:
            await self._calls.turn(1, until=until)

    async def _message(self, request: Request, until: float) -> None:
        if not self._default and not self._rates:
            return
        fields = dict(_fields(request))
        sender = fields.get("From") or fields.get("MessagingServiceSid", "")
        rate = self._rates.get(sender, self._default)
        if not rate:
            return
        if sender not in self._senders:
            self._forget(asyncio.get_running_loop().time())
            self._senders[sender] = Pace(rate, share=self._share)
        await self._senders[sender].turn(_units(sender, fields), until=until)

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


def backoff_seconds(attempt: int, retry_after: float | None) -> float:
    """Exponential with jitter from half to the whole, never less than what Twilio asks for."""
    longest = min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2.0 ** min(attempt, 10))
    delay = longest * random.uniform(0.5, 1)  # noqa: S311  # jitter, not a secret
    return delay if retry_after is None else max(delay, retry_after + delay / 10)


class Concurrency:
    """An adaptive limit: one more per round trip without a refusal, 30 % less per round trip with one.

    `report` is called with the limit whenever it changes. First come, first served.
    """

    def __init__(self, maximum: int, *, report: Callable[[float], object] = lambda _limit: None) -> None:
        self.maximum = maximum
        self.limit = float(maximum)
        self.running = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._shrunk_at = float("-inf")
        self._report = report
        report(self.limit)

    async def acquire(self) -> None:
        """Wait for a place. Every `acquire` that returned needs one `release`."""
        if self.running < int(self.limit) and not self._waiting:
            self.running += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()
            raise

    def release(self) -> None:
        """Give the slot to the request that has waited longest."""
        self.running -= 1
        self._admit()

    def grow(self) -> None:
        """After an answer that is no 429: by one per `limit` answers, which is about one round trip."""
        if self.limit < self.maximum:
            self._change(min(float(self.maximum), self.limit + 1 / self.limit))
            self._admit()

    def throttled(self, *, sent_at: float) -> None:
        """Answer 429 to a request sent at this loop time; what was sent before the last shrinking does not count."""
        if sent_at >= self._shrunk_at:
            self._shrunk_at = asyncio.get_running_loop().time()
            self._change(max(1.0, self.limit * SHRINK))

    def _change(self, limit: float) -> None:
        self.limit = limit
        self._report(limit)

    def _admit(self) -> None:
        while self._waiting and self.running < int(self.limit):
            turn = self._waiting.popleft()
            if not turn.done():
                self.running += 1
                turn.set_result(None)
