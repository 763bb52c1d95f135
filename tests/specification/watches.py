"""One watch for each filter of each list, with what Twilio must be asked and what must be published."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

from connector.resources import WATCHES
from tests.specification.furnished import OTHER, Furnished, new

Lists = dict[str, tuple[str, Sequence[str], list[tuple[dict[str, Any], dict[str, str], Sequence[str]]]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A watch of `resource` with one filter or the limit, and the keys `among` others that it publishes, oldest first.

    `sends` are the parameters by which it narrows Twilio's list. `limit` bounds what a poll publishes.
    """

    resource: str
    operation: str
    filters: Mapping[str, Any] = field(default_factory=dict)
    sends: Mapping[str, str] = field(default_factory=dict)
    sids: Sequence[str]
    among: Sequence[str]
    limit: int = 1000
    interval: str = "300ms"

    @property
    def name(self) -> str:
        """Unique, by what it shows."""
        return "-".join([self.resource, *self.filters, *(["limit"] if self.limit < 1000 else [])]).replace("_", "-")

    def section(self, rows: Furnished) -> dict[str, Any]:
        """Its configuration."""
        is_by_day = "start_date" in self.filters or WATCHES[self.resource].created == "start_date"
        start = rows.now - (timedelta(days=10) if is_by_day else timedelta(minutes=9))
        return {
            "name": self.name,
            "resource": self.resource,
            "interval": self.interval,
            "start": start.isoformat(),
            "limit": self.limit,
            **self.filters,
        }


def watches(rows: Furnished) -> list[Watched]:
    """Every list, every filter, the limit of each list."""
    messages, calls, recordings, alerts = rows.messages, rows.calls, rows.recordings, rows.alerts
    audible = [sid for number, sid in enumerate(recordings) if number != 3]
    parent, call, conference = new("CA", 0xFA), new("CA", 0xC1), new("CF", 0xC2)
    day_before, two_days_before = (rows.now - timedelta(days=days) for days in (1, 2))

    def wire(moment: Any) -> str:
        return str(moment.strftime("%Y-%m-%dT%H:%M:%SZ"))

    lists: Lists = {
        "messages": (
            "ListMessage",
            messages,
            [
                ({"to": OTHER}, {"To": OTHER}, [messages[0], messages[4]]),
                ({"from": OTHER}, {"From": OTHER}, [messages[2]]),
            ],
        ),
        "calls": (
            "ListCall",
            calls,
            [
                ({"to": OTHER}, {"To": OTHER}, [calls[0], calls[5]]),
                ({"from": OTHER}, {"From": OTHER}, [calls[2]]),
                ({"parent_call_sid": parent}, {"ParentCallSid": parent}, [calls[3]]),
                ({"status": "busy"}, {"Status": "busy"}, [calls[4]]),
            ],
        ),
        "recordings": (
            "ListRecording",
            audible,
            [
                ({"call_sid": call}, {"CallSid": call}, [recordings[0], recordings[2]]),
                ({"conference_sid": conference}, {"ConferenceSid": conference}, [recordings[1]]),
                ({"include_deleted": True}, {"IncludeSoftDeleted": "true"}, recordings),
            ],
        ),
        "transcriptions": ("ListTranscription", rows.transcriptions, []),
        "alerts": (
            "ListAlert",
            alerts[2:],
            [
                ({"log_level": "warning"}, {"LogLevel": "warning"}, [alerts[2]]),
                (
                    {"start_date": two_days_before.isoformat(), "end_date": day_before.isoformat()},
                    {"StartDate": wire(two_days_before), "EndDate": wire(day_before)},
                    [alerts[1]],
                ),
            ],
        ),
    }
    return [*_standard(rows, lists), *_by_name(rows)]


def _standard(rows: Furnished, lists: Lists) -> Iterator[Watched]:
    for resource, (operation, everything, filtered) in lists.items():
        watched = partial(Watched, resource=resource, operation=operation, among=getattr(rows, resource))
        yield watched(sids=everything)
        yield watched(sids=everything, limit=len(everything) // 2)
        yield from (watched(filters=filters, sends=sends, sids=sids) for filters, sends, sids in filtered)


def _by_name(rows: Furnished) -> Iterator[Watched]:
    for resource, listed in rows.lists.items():
        operation = WATCHES[resource].operation
        watched = partial(Watched, resource=resource, operation=operation, among=listed.keys, interval="2s")
        yield watched(sids=listed.keys)
        yield from (watched(filters=filters, sends=sends, sids=sids) for filters, sends, sids in listed.filters)
