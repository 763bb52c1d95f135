"""What may be asked of a running watch, and the cursor that it leads to. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from connector.events import timestamp
from connector.state.control import ACTIONS, Answer, Request
from connector.watcher.cursor import SECOND, Cursor, first


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When a request is carried out: `now` by Twilio's clock, and how far back each poll reads again."""

    now: datetime
    overlap: timedelta


UNREADABLE = "The cursor of this watch cannot be read: rewind it to the time from which it is to go on."

Outcome = tuple[Cursor, bool, str]
"""The cursor to go on with, whether the request was carried out, and one sentence about it."""


def carry_out(cursor: Cursor, request: Request, moment: Moment, *, offset: int) -> tuple[Cursor, Answer]:
    """The cursor after the request at this offset of the control topic, and the answer to it."""
    perform = _ACTIONS.get(request.action, _unknown)
    after, done, message = perform(cursor, request, moment)
    answer = Answer(id=request.id, action=request.action, watch=request.watch, done=done, message=message)
    return replace(after, control=offset + 1), answer


def start_anew(request: Request, moment: Moment, *, offset: int) -> tuple[Cursor | None, Answer]:
    """The same for a watch whose cursor cannot be read: only a rewind gives it another one."""
    outcome: tuple[Cursor | None, bool, str] = None, False, UNREADABLE
    if request.action == "rewind":
        cursor, done, message = _rewind(first(moment.now), request, moment)
        outcome = (cursor, done, message) if done else (None, done, message)
    after, done, message = outcome
    answer = Answer(id=request.id, action=request.action, watch=request.watch, done=done, message=message)
    return after and replace(after, control=offset + 1), answer


def _pause(cursor: Cursor, request: Request, moment: Moment) -> Outcome:
    del request
    if cursor.paused_at is not None:
        return cursor, True, f"Was paused already, since {timestamp(cursor.paused_at)}."
    paused = replace(cursor, paused_at=moment.now)
    return paused, True, "Paused. It stays so over restarts until it is resumed; nothing is skipped."


def _resume(cursor: Cursor, request: Request, moment: Moment) -> Outcome:
    del request, moment
    if cursor.paused_at is None:
        return cursor, True, "Was running already."
    resumed = replace(cursor, paused_at=None)
    return (
        resumed,
        True,
        f"Resumed. It goes on from {timestamp(cursor.catch_up.low if cursor.catch_up else cursor.since)}.",
    )


def _rewind(cursor: Cursor, request: Request, moment: Moment) -> Outcome:
    if request.to is None:
        return cursor, False, "A rewind needs a time to go back to: give `to`, such as 2026-01-31T00:00:00Z."
    to = request.to.replace(microsecond=0)
    if to > moment.now:
        return cursor, False, f"{timestamp(to)} is in the future: give a time to go back to."
    if cursor.catch_up is not None and to >= cursor.catch_up.low:
        at = timestamp(cursor.catch_up.low)
        return cursor, False, f"The watch is catching up and stands at {at}: what came later is still to be published."
    held = " The watch is paused, and publishes when it is resumed." if cursor.paused_at else ""
    sentence = f"Rewound to {timestamp(to)}. Events since then are published again, with the same ids.{held}"
    return _rewound(cursor, to, moment), True, sentence


def _rewound(cursor: Cursor, to: datetime, moment: Moment) -> Cursor:
    """Within the window only what has been seen is forgotten; further back the watch begins anew."""
    if cursor.catch_up is None and to >= cursor.since:
        seen = {sid: seen for sid, seen in cursor.seen.items() if seen.created < to}
        return replace(cursor, seen=seen, complete_until=min(cursor.complete_until, to))
    return replace(first(moment.now, since=to), paused_at=cursor.paused_at)


def _rescan(cursor: Cursor, request: Request, moment: Moment) -> Outcome:
    del request
    if cursor.paused_at is not None:
        return cursor, False, "The watch is paused: resume it first."
    minutes = moment.overlap // SECOND / 60
    return cursor, True, f"Reads the last {minutes:g} minutes of the list again now, and publishes what is missing."


def _unknown(cursor: Cursor, request: Request, moment: Moment) -> Outcome:
    del moment
    return cursor, False, f"{request.action!r:.40} is nothing that can be asked: there are {', '.join(ACTIONS)}."


_ACTIONS: Mapping[str, Callable[[Cursor, Request, Moment], Outcome]] = {
    "pause": _pause,
    "resume": _resume,
    "rewind": _rewind,
    "rescan": _rescan,
}
