"""Webhooks to the customer: signed forms or JSON, with Twilio's delivery policy and overrides.

Source: Twilio, usage/webhooks/webhooks-connection-overrides.
"""

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

import aiohttp
from yarl import URL

from connector.simulator.world import World
from connector.twilio import signature

FORM = "application/x-www-form-urlencoded; charset=UTF-8"
CLIENT_ERROR, TOO_MANY, SERVER_ERROR = 400, 429, 500
MAX_REDIRECTS = 10
MAX_PAUSE = 60.0
LIMIT = 200_000  # deliveries remembered
KEPT_BODY = 64 * 1024
OVERRIDES: dict[str, tuple[int, int, int]] = {  # key: (lowest, highest, default)
    "ct": (100, 10_000, 5_000),
    "rt": (100, 15_000, 15_000),
    "tt": (100, 15_000, 15_000),
    "rc": (0, 5, 1),
}
POLICIES = frozenset({"4xx", "5xx", "ct", "rt"})


@dataclass(frozen=True, slots=True)
class Policy:
    """How a webhook is delivered: times in seconds, number of retries, what is retried."""

    connect: float = 5.0
    read: float = 15.0
    total: float = 15.0
    retries: int = 1
    retried: frozenset[str] = frozenset({"ct"})

    pause: str = "callback_retry_delay"  # the setting with the pause before the first retry

    @classmethod
    def of(cls, url: str) -> "Policy":
        """Read the overrides in a URL's fragment; unknown keys and values out of range are ignored."""
        given = dict(parse_qsl(url.partition("#")[2]))
        ct, rt, tt, rc = (_bounded(key, given.get(key, "")) for key in ("ct", "rt", "tt", "rc"))
        retried = frozenset(word.strip() for word in given.get("rp", "ct").split(","))
        retried = POLICIES if "all" in retried else (retried & POLICIES) or frozenset({"ct"})
        return cls(ct / 1000, rt / 1000, tt / 1000, rc, retried)


EVENT_STREAMS = Policy(5.0, 5.0, 4 * 3600.0, 100, frozenset({"429", "5xx", "ct", "rt"}), "event_retry_delay")


def _bounded(key: str, value: str) -> int:
    low, high, default = OVERRIDES[key]
    return int(value) if value.isdigit() and low <= int(value) <= high else default


@dataclass(slots=True, kw_only=True)
class Delivery:
    """One webhook: what was sent, each attempt, and how it ended (pending, delivered, failed, or lost on purpose)."""

    number: int
    kind: str
    sid: str
    account_sid: str
    method: str
    url: str  # without the fragment
    parameters: list[tuple[str, str]]
    token: str
    policy: Policy
    created: float
    body: bytes = b""
    content_type: str = FORM
    signature: str = ""
    attempts: list[dict[str, Any]] = field(default_factory=list)
    outcome: str = "pending"
    answer: str = ""
    answer_type: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON value, without body and signature."""
        shown = asdict(self)
        shown["policy"]["retried"] = sorted(self.policy.retried)
        return {name: value for name, value in shown.items() if name not in {"body", "signature"}}


Answered = Callable[[Delivery], None]


class Deliveries:
    """All webhooks that were sent, and the tasks that are sending."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._session: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._random = world.stream("callbacks")
        self.rows: deque[Delivery] = deque(maxlen=LIMIT)
        self.total = 0
        self.on_failure: Answered | None = None
        self.idle = asyncio.Event()
        self.idle.set()

    @property
    def pending(self) -> int:
        """How many are under way."""
        return len(self._tasks)

    def of(self, kind: str) -> list[Delivery]:
        """Return those of one kind, such as message-status."""
        return [row for row in self.rows if row.kind == kind]

    def send(
        self,
        *,
        kind: str,
        url: str,
        account_sid: str,
        parameters: Mapping[str, Any],
        sid: str = "",
        method: str = "POST",
        on_answer: Answered | None = None,
    ) -> Delivery | None:
        """Start delivering a form; None when there is no URL."""
        if not url:
            return None
        pairs = [(name, str(value)) for name, value in parameters.items() if value is not None]
        row = self._row(url=url, kind=kind, sid=sid, account_sid=account_sid, method=method, parameters=pairs)
        token = self._world.accounts[account_sid].auth_token
        if method == "GET":
            row.url += ("&" if "?" in row.url else "?") + urlencode(pairs)
            row.signature = signature.compute(row.url, [], token)
        else:
            row.body = urlencode(pairs).encode()
            row.signature = signature.compute(row.url, pairs, token)
        self._start(row, on_answer)
        return row

    def send_json(self, *, kind: str, url: str, account_sid: str, body: bytes, sid: str = "") -> Delivery:
        """Start delivering a JSON body as Event Streams does, signed through `bodySHA256` in the URL.

        Source: Twilio, usage/security, events/webhook-quickstart.
        """
        row = self._row(url=url, kind=kind, sid=sid, account_sid=account_sid, method="POST", parameters=[])
        row.policy = EVENT_STREAMS
        row.url += f"{'&' if '?' in row.url else '?'}bodySHA256={hashlib.sha256(body).hexdigest()}"
        row.body, row.content_type = body, "application/json"
        row.signature = signature.compute(row.url, [], self._world.accounts[account_sid].auth_token)
        self._start(row, None)
        return row

    def resend(self, number: int) -> Delivery:
        """Deliver a webhook once more, as it was signed, beside what its policy does. Raises KeyError."""
        for row in reversed(self.rows):
            if row.number == number:
                row.outcome = "pending"
                self._start(row, None)
                return row
        raise KeyError(f"webhook {number} is not kept")

    def clear(self) -> None:
        """Stop sending and forget all."""
        for task in self._tasks:
            task.cancel()
        self.rows.clear()
        self.total = 0
        self._random = self._world.stream("callbacks")

    async def open(self) -> None:
        """Open the client; needs the running loop."""
        connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=60)
        self._session = aiohttp.ClientSession(connector=connector, skip_auto_headers=("User-Agent",))

    async def close(self) -> None:
        """Stop sending and close the client; what would be sent from now on is lost."""
        session, self._session = self._session, None
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if session is not None:
            await session.close()

    def _row(self, *, url: str, **values: Any) -> Delivery:
        self.total += 1
        row = Delivery(
            number=self.total,
            url=url.partition("#")[0],
            policy=Policy.of(url),
            token=self._world.new_sid(""),
            created=self._world.now(),
            **values,
        )
        self.rows.append(row)
        return row

    def _start(self, row: Delivery, on_answer: Answered | None) -> None:
        settings, random = self._world.settings, self._random
        if self._session is None or (settings.lost_callbacks and random.random() < settings.lost_callbacks):
            row.outcome = "lost"
            return
        copies = 2 if settings.duplicate_callbacks and random.random() < settings.duplicate_callbacks else 1
        for _ in range(copies):
            delay = random.uniform(0, settings.callback_jitter) if settings.callback_jitter else 0.0
            task = asyncio.create_task(self._deliver(row, delay, on_answer), name=f"simulator-callback-{row.number}")
            self._tasks.add(task)
            self.idle.clear()
            task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not self._tasks:
            self.idle.set()

    async def _deliver(self, row: Delivery, delay: float, on_answer: Answered | None) -> None:
        if delay:
            await asyncio.sleep(delay)
        deadline = self._world.now() + row.policy.total
        for attempt in range(row.policy.retries + 1):
            failure = await self._attempt(row, deadline - self._world.now())
            if not failure:
                row.outcome = "delivered"
                break
            pause = min(MAX_PAUSE, getattr(self._world.settings, row.policy.pause) * 2**attempt)
            last = attempt == row.policy.retries or failure not in row.policy.retried
            if last or self._world.now() + pause >= deadline:
                row.outcome = "failed"
                break
            await asyncio.sleep(pause)
        if row.outcome == "failed" and self.on_failure is not None:
            self.on_failure(row)
        if row.outcome == "delivered" and on_answer is not None:
            on_answer(row)

    async def _attempt(self, row: Delivery, remaining: float) -> str:
        """Send once; returns what went wrong in the words of the retry policy, or nothing."""
        started = self._world.now()
        note: dict[str, Any] = {"at": started, "status": 0, "error": ""}
        row.attempts.append(note)
        try:
            note["status"] = await self._exchange(row, max(0.001, remaining))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
            note["error"] = type(error).__name__
            return "ct"
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            note["error"] = type(error).__name__
            return "rt"
        finally:
            note["seconds"] = round(self._world.now() - started, 6)
        return _failure(note["status"], row.policy)

    async def _exchange(self, row: Delivery, remaining: float) -> int:
        assert self._session is not None, "the simulator is not started"  # noqa: S101 - our own invariant
        headers = {"X-Twilio-Signature": row.signature, "I-Twilio-Idempotency-Token": row.token, "Accept": "*/*"}
        headers["User-Agent"] = "TwilioProxy/1.1"
        if row.method != "GET":
            headers["Content-Type"] = row.content_type
        timeout = aiohttp.ClientTimeout(
            total=remaining, sock_connect=row.policy.connect, sock_read=min(row.policy.read, remaining)
        )
        request = self._session.request(
            row.method,
            URL(row.url, encoded=True),
            data=row.body if row.method != "GET" else None,
            headers=headers,
            timeout=timeout,
            max_redirects=MAX_REDIRECTS,
        )
        async with request as answer:
            row.answer = (await answer.content.read(KEPT_BODY)).decode(errors="replace")
            row.answer_type = answer.content_type
            return answer.status


def _failure(status: int, policy: Policy) -> str:
    """Return what an answer means in the words of the retry policy; nothing for success."""
    if status < CLIENT_ERROR:
        return ""
    if status == TOO_MANY and "429" in policy.retried:
        return "429"
    return "4xx" if status < SERVER_ERROR else "5xx"
