"""What a command came to, and how its result says why. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from connector.errors import MESSAGE_BYTES, WORD_BYTES, Rejected, TwilioError, bounded, listed

OutcomeName = Literal["succeeded", "failed", "rejected", "expired", "duplicate", "unknown"]

# Every record of results stays below this; what a list or an answer may hold of it, beside all else.
LARGEST_RECORD = 512 * 1024
RECORD_BYTES = LARGEST_RECORD - 16 * 1024
# Twilio's codes have five or six digits; JSON's readers disagree about numbers of more than fifteen.
LARGEST_CODE = 999_999_999


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command came to. `bundles` are JSON; `sid` is the one that it made, `account_sid` whose it is."""

    outcome: OutcomeName
    bundles: Sequence[bytes] = ()
    error: Mapping[str, Any] | None = None
    attempts: int = 0
    reconciled: bool = False
    request_id: str | None = None
    sid: str | None = None
    account_sid: str | None = None
    started_at: datetime | None = None
    page: int = 0
    last: bool = True


def error_of(error: BaseException, *, retryable: bool = False) -> dict[str, Any]:
    """The `error` member of a result: bounded, and of the types that its schema names."""
    if isinstance(error, TwilioError):
        return _error(
            "twilio" if error.status else "connector",
            error.message,
            code=_number(error.code),
            http_status=_number(error.status) or None,
            more_info=bounded(error.more_info, WORD_BYTES) if isinstance(error.more_info, str) else None,
            retryable=retryable,
        )
    return _error("invalid" if isinstance(error, Rejected) else "connector", str(error), retryable=retryable)


def _error(kind: str, message: str, *, retryable: bool = False, **more: Any) -> dict[str, Any]:
    found = {
        "kind": kind,
        "code": None,
        "message": bounded(str(message), MESSAGE_BYTES),
        "http_status": None,
        "more_info": None,
        "retryable": retryable,
    }
    return found | more


def _number(number: object) -> int | None:
    return number if type(number) is int and 0 <= number <= LARGEST_CODE else None


EXPIRED = _error("expired", "The command's expires-at passed before it could be executed.", retryable=True)
EXPIRED_ANSWER = Outcome("expired", error=EXPIRED)
RECORD_GONE = _error(
    "in-doubt",
    "The request may have been sent. Its answer is lost, and so is the command's record, so that nothing can be looked "
    "up: do not assume either way.",
)
FORGOTTEN = _error(
    "in-doubt",
    "Whether it was executed before is not known: the group's offsets and the journal have lost it. It was not sent "
    "now: do not assume either way.",
)
UNKNOWN = _error(
    "in-doubt",
    "The request was sent, its answer was lost, and Twilio does not show what it made: do not assume either way.",
)


def too_large(size: int) -> dict[str, Any]:
    """The `error` of a result whose bundles were left out."""
    return _error("too-large", f"Twilio's answer has {size} bytes, a record holds {RECORD_BYTES}: it is left out.")


def connector_error(message: str) -> dict[str, Any]:
    """The `error` of a result that says what the connector itself has met."""
    return _error("connector", message, retryable=True)


def left_out(sentences: Sequence[str], total: int) -> dict[str, Any]:
    """The `error` of a result without `total` of Twilio's rows; the sentences say which, and why."""
    return _error("left-out", f"Left out of bundles: {listed(list(sentences), total)}.")


def pages_of(bundles: Sequence[bytes]) -> list[list[bytes]]:
    """Bundles in portions that fit a record; one empty portion for no bundle at all."""
    portions: list[list[bytes]] = [[]]
    size = 0
    for bundle in bundles:
        if portions[-1] and size + len(bundle) > RECORD_BYTES:
            portions.append([])
            size = 0
        portions[-1].append(bundle)
        size += len(bundle) + 1
    return portions
