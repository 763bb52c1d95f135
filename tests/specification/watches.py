"""One watch for each filter of each list, with what Twilio must be asked and what must be published."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from tests.specification.furnished import OTHER, Furnished, new


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A watch of `resource` with one filter or the limit, and the SIDs that it publishes, oldest first.

    `sends` are the parameters by which it narrows Twilio's list. `limit` bounds what a poll publishes.
    """

    resource: str
    operation: str
    filters: Mapping[str, Any] = field(default_factory=dict)
    sends: Mapping[str, str] = field(default_factory=dict)
    sids: Sequence[str]
    limit: int = 1000

    @property
    def name(self) -> str:
        """Unique, by what it shows."""
        return "-".join([self.resource, *self.filters, *(["limit"] if self.limit < 1000 else [])]).replace("_", "-")

    def section(self, rows: Furnished) -> dict[str, Any]:
        """Its configuration."""
        start = rows.now - (timedelta(days=10) if "start_date" in self.filters else timedelta(minutes=9))
        return {
            "name": self.name,
            "resource": self.resource,
            "interval": "300ms",
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

    lists: dict[str, tuple[str, Sequence[str], list[tuple[dict[str, Any], dict[str, str], Sequence[str]]]]] = {
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
    return [
        item
        for resource, (operation, everything, filtered) in lists.items()
        for item in [
            Watched(resource=resource, operation=operation, sids=everything),
            Watched(resource=resource, operation=operation, sids=everything, limit=len(everything) // 2),
            *(
                Watched(resource=resource, operation=operation, filters=filters, sends=sends, sids=sids)
                for filters, sends, sids in filtered
            ),
        ]
    ]
