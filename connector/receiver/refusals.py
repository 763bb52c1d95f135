"""Callbacks that are not stored: what is answered, what is counted, and a log that nobody outside can fill."""

import time
from collections.abc import Mapping

from aiohttp import web

from connector.events import Record
from connector.kafka.dead_letters import dead_letter
from connector.telemetry import CALLBACKS, logger

QUIET_SECONDS = 10.0
RETRY_AFTER_SECONDS = 5
REMEMBERED_REASONS = 1000

# status -> one line without detail, and the outcome that is counted.
ANSWERS: Mapping[int, tuple[str, str]] = {
    400: ("Bad request.", "invalid"),
    403: ("Forbidden.", "forbidden"),
    404: ("Not found.", "invalid"),
    405: ("Method not allowed.", "invalid"),
    408: ("The body did not arrive.", "invalid"),
    413: ("Too large.", "invalid"),
    415: ("Neither a form nor a body with its bodySHA256.", "invalid"),
    503: ("Not stored; try again.", "unavailable"),
}
# What is counted of a 403 that a stranger causes, or a proxy that removes the signature: `forbidden` is a wrong one.
_WITHOUT_PROOF: Mapping[str, str] = {
    "signature missing": "unsigned",
    "unknown account": "foreign",
    "no AccountSid": "foreign",
    "signed by no known account": "foreign",
}
_HEADERS: Mapping[int, Mapping[str, str]] = {
    405: {"Allow": "POST, GET"},
    503: {"Retry-After": str(RETRY_AFTER_SECONDS)},
}

log = logger(__name__)


class Refusal(Exception):
    """Why a callback is not stored. `reason` is for the log and holds nothing of the content."""

    def __init__(self, status: int, reason: str = "") -> None:
        super().__init__(reason or ANSWERS[status][0])
        self.status = status
        self.reason = reason or ANSWERS[status][0]

    @property
    def outcome(self) -> str:
        """What is counted."""
        return _WITHOUT_PROOF.get(self.reason, ANSWERS[self.status][1])

    def answer(self) -> web.Response:
        """One line that tells a caller nothing."""
        return web.Response(status=self.status, text=ANSWERS[self.status][0] + "\n", headers=_HEADERS.get(self.status))


class Unfit(Refusal):
    """Twilio's signature is right, and what it signed does not fit: refused once it is among the dead letters."""

    def __init__(self, reason: str, content: bytes) -> None:
        super().__init__(400, reason)
        self._content = content

    def letter(self, prefix: str, kind: str, request: web.BaseRequest) -> Record:
        """The dead letter: the body as it came, or the query of a GET, with what tells how it came."""
        named = {
            "content-type": request.headers.get("Content-Type", ""),
            "i-twilio-idempotency-token": request.headers.get("I-Twilio-Idempotency-Token", ""),
            "callback-kind": kind,
            "callback-method": request.method,
            "callback-target": request.raw_path if request.method == "POST" else request.raw_path.partition("?")[0],
        }
        headers = [(name, value.encode(errors="replace")) for name, value in named.items() if value]
        return dead_letter(
            prefix, key=None, value=self._content, headers=headers, error=self.__cause__ or self, stage="callback"
        )


class Refusals:
    """Counts refusals, and logs one of each kind and reason every ten seconds with how many others there were."""

    def __init__(self) -> None:
        self._next: dict[tuple[str, str], float] = {}
        self._unsaid: dict[tuple[str, str], int] = {}

    def note(self, kind: str, refusal: Refusal) -> None:
        """Count it, and log it unless that was done a moment ago."""
        CALLBACKS.labels(kind, refusal.outcome).inc()
        same = (kind, refusal.reason)
        moment = time.monotonic()
        if moment < self._next.get(same, 0):
            self._unsaid[same] = self._unsaid.get(same, 0) + 1
            return
        if len(self._next) >= REMEMBERED_REASONS:
            self._next.clear()
            self._unsaid.clear()
        self._next[same] = moment + QUIET_SECONDS
        log.warning(
            "callback refused",
            kind=kind,
            status=refusal.status,
            reason=refusal.reason,
            unsaid=self._unsaid.pop(same, 0),
        )
