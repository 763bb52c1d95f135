"""Callbacks that are not stored: what is answered, what is counted, and a log that no caller can fill."""

import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from connector.dead_letters.record import dead_letter
from connector.events import Record
from connector.telemetry.logs import logger
from connector.telemetry.metrics import CALLBACKS

if TYPE_CHECKING:
    from connector.receiver.connection import Request

QUIET_SECONDS = 10.0
RETRY_AFTER_SECONDS = 5
REMEMBERED_REASONS = 1000
UNKNOWN = "unknown"
"""The kind that is counted for requests to no address of ours."""
IDEMPOTENCY_HEADER = b"i-twilio-idempotency-token"


class Reply(NamedTuple):
    """What is answered: status line and headers without `Date`, and the content."""

    head: bytes
    content: bytes = b""

    @classmethod
    def of(cls, status: int, text: str = "", *, headers: Mapping[str, str] | None = None) -> "Reply":
        """A reply with plain text unless `headers` name another type; a 204 has no content."""
        content = text.encode()
        described = {"Content-Type": "text/plain; charset=utf-8"} if content else {}
        length = {} if status == HTTPStatus.NO_CONTENT else {"Content-Length": str(len(content))}
        lines = [f"{name}: {value}\r\n" for name, value in {**described, **(headers or {}), **length}.items()]
        return cls(f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{''.join(lines)}".encode(), content)


# status -> one line without detail, and the outcome that is counted.
ANSWERS: Mapping[int, tuple[str, str]] = {
    400: ("Bad request.", "invalid"),
    403: ("Forbidden.", "forbidden"),
    404: ("Not found.", "invalid"),
    405: ("Method not allowed.", "invalid"),
    408: ("The request did not arrive.", "invalid"),
    413: ("Too large.", "invalid"),
    414: ("The address is too long.", "invalid"),
    415: ("Neither a form nor a body with its bodySHA256.", "invalid"),
    431: ("Too many or too large headers.", "invalid"),
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
_REPLIES = {
    status: Reply.of(status, f"{line}\n", headers=_HEADERS.get(status)) for status, (line, _) in ANSWERS.items()
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

    @property
    def reply(self) -> Reply:
        """One line that tells a caller nothing."""
        return _REPLIES[self.status]


class Unfit(Refusal):
    """Twilio's signature is right, and what it signed does not fit: refused once it is among the dead letters."""

    def __init__(self, reason: str, content: bytes) -> None:
        super().__init__(400, reason)
        self._content = content

    def letter(self, prefix: str, kind: str, request: "Request") -> Record:
        """The dead letter: the body as it came, or the query of a GET, with what tells how it came."""
        named = {
            "content-type": request.headers.get(b"content-type", ""),
            "i-twilio-idempotency-token": request.headers.get(IDEMPOTENCY_HEADER, ""),
            "callback-kind": kind,
            "callback-method": request.method,
            "callback-target": request.target if request.method == "POST" else request.target.partition("?")[0],
        }
        headers = [(name, value.encode(errors="replace")) for name, value in named.items() if value]
        return dead_letter(
            prefix, key=None, value=self._content, headers=headers, error=self.__cause__ or self, stage="callback"
        )


class Refusals:
    """Counts refusals, and logs one of each reason every ten seconds with how many others there were."""

    def __init__(self) -> None:
        self._next: dict[str, float] = {}
        self._unsaid: dict[str, int] = {}

    def note(self, kind: str, refusal: Refusal) -> None:
        """Count it, and log it unless that was done a moment ago."""
        CALLBACKS.labels(kind, refusal.outcome).inc()
        reason = refusal.reason
        moment = time.monotonic()
        if moment < self._next.get(reason, 0):
            self._unsaid[reason] = self._unsaid.get(reason, 0) + 1
            return
        if len(self._next) >= REMEMBERED_REASONS:
            self._next.clear()
            self._unsaid.clear()
        self._next[reason] = moment + QUIET_SECONDS
        unsaid = self._unsaid.pop(reason, 0)
        log.warning("callback refused", kind=kind, status=refusal.status, reason=reason, unsaid=unsaid)
