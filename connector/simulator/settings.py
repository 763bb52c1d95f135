"""What can be tuned while the simulator runs; every value is a field of the frozen `Settings`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Durations are seconds; probabilities are 0…1; 0 switches a limit off."""

    clock_ahead: float = 0.0  # Twilio's clock against this machine's: its `Date` and the times of its rows
    granularity: str = "second"  # of date filters: second or day
    ties: str = "newest"  # order within one second: newest, oldest or sid
    visible_after: float = 0.0  # a created row shows up in lists so much later; GET by SID works at once
    deleted_token: str = "continue"  # noqa: S105 - a paging token whose row is gone: continue or refuse (21481)
    retention_days: int = 400  # of messages
    concurrency_limit: int = 0  # requests in progress per account before 429/20429
    segments_per_second: Mapping[str, float] = field(default_factory=dict)  # sender -> its rate; others have none
    queue_seconds: float = 14_400.0  # how long a sender's queue may get before 429/21611: four hours at Twilio
    auto_advance: bool = True  # False: life cycles move only through the control route
    accept_delay: float = 0.02  # accepted -> queued (messages of a service)
    queue_delay: float = 0.02  # queued -> sending
    send_delay: float = 0.05  # sending -> sent
    deliver_delay: float = 0.1  # sent -> delivered | undelivered
    price_delay: float = 0.5  # final -> price filled
    price_updates_date: bool = True  # whether the late price moves date_updated
    failed_has_date_sent: bool = True  # whether a failed message has a date_sent
    outcomes: Mapping[str, float] = field(default_factory=lambda: {"delivered": 1.0})  # weights of final statuses
    outcome_by_number: Mapping[str, str] = field(default_factory=dict)  # To -> final status (messages and calls)
    error_codes: tuple[int, ...] = (30003, 30005, 30006, 30007, 30008)  # of undelivered and failed messages
    report_sending: bool = False  # whether `sending` is called back
    early_delete: str = "refuse"  # before the resource is final: refuse (20009) or allow
    strict_senders: bool = False  # True: From must be a number of the account (21606, 21210)
    magic_numbers: bool = True  # +1500555000x answer their codes for every account, not only for test credentials
    inbound_url: str = ""  # webhook of inbound messages when the number has none
    callback_jitter: float = 0.0  # each callback leaves up to so much later: arrival order is not guaranteed
    callback_retry_delay: float = 0.1  # before the first retry; doubles each time
    lost_callbacks: float = 0.0  # probability that a webhook is never sent
    duplicate_callbacks: float = 0.0  # probability that a webhook is delivered twice, with the same token
    call_outcomes: Mapping[str, float] = field(default_factory=lambda: {"completed": 1.0})
    skip_ringing: float = 0.0  # probability that a call is answered without ringing first
    fetch_twiml: bool = False  # whether a call's Url is really asked for TwiML
    record_all_calls: bool = False
    calls_per_second: float = 0.0  # excess creates are queued, not refused; Twilio's default is 1
    dial_delay: float = 0.02  # queued -> initiated
    ring_delay: float = 0.02  # initiated -> ringing
    answer_delay: float = 0.1  # ringing -> in-progress, or busy | no-answer | failed
    talk_seconds: float = 0.3  # in-progress -> completed
    call_duration: int = 0  # reported duration; 0: the true one, at least 1
    amd_delay: float = 0.05  # answered -> asynchronous AMD result
    answered_by: str = "human"
    process_delay: float = 0.1  # recording processing -> completed
    recording_seconds: int = 0  # length of the media; 0: the true one, at least 1
    media_redirect: bool = False  # media come from another host, which refuses Twilio credentials
    transcribe: bool = False  # a completed recording gets a (legacy) transcription
    transcribe_delay: float = 0.1
    transcription_url: str = ""  # transcribeCallback of such a transcription
    event_sink: str = ""  # webhook of an Event Streams sink; gets what happens to messages and calls
    event_batch: bool = False  # whether it gets JSON arrays
    event_retry_delay: float = 0.2  # before the first retry; doubles each time
    alert_on_failed_message: bool = True  # undelivered and failed messages become Monitor alerts
    alert_on_failed_callback: bool = True  # a callback that failed becomes a Monitor alert
    alert_cap: int = 10_000  # alerts per query
    alert_days: int = 30  # how far back alerts can be asked for

    def changed(self, changes: Mapping[str, Any]) -> "Settings":
        """Return a copy with some values changed; raises ValueError for an unknown name."""
        known = {item.name for item in fields(self)}
        if unknown := sorted(set(changes) - known):
            raise ValueError(f"unknown simulator settings {unknown}; known are {sorted(known)}")
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in changes.items()}
        return replace(self, **values)
