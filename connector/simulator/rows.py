"""The rows: what the simulator keeps of each resource, besides what every row has."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from connector.simulator.accounts import Account
from connector.simulator.collection import Row

# The lists that are only read, with the prefixes of their SIDs.
PLAIN = {
    "queues": "QU",
    "queue_members": "CA",
    "conferences": "CF",
    "participants": "CA",
    "usage_records": "UR",
    "verification_attempts": "VL",
    "conversations": "CH",
    "conversation_messages": "IM",
    "studio_flows": "FW",
    "studio_executions": "FN",
    "messaging_services": "MG",
}
FINAL_MESSAGE = frozenset({"delivered", "undelivered", "failed", "canceled", "read", "received"})


@dataclass(slots=True, kw_only=True, eq=False)
class Message(Row):
    """A message of either direction."""

    INDEXED: ClassVar[tuple[str, ...]] = ("to", "from_")

    to: str
    from_: str | None
    body: str
    status: str
    direction: str = "outbound-api"
    sent: int | None = None
    num_media: int = 0
    num_segments: int = 1
    price: str | None = None
    error_code: int | None = None
    service_sid: str | None = None
    callback: str = ""
    outcome: str = "delivered"  # the final status that its life leads to
    send_at: int | None = None
    feedback: str = ""

    @property
    def second(self) -> int:
        """By date sent, before that by date created."""
        return self.created if self.sent is None else self.sent

    @property
    def is_final(self) -> bool:
        """Whether its life is over."""
        return self.status in FINAL_MESSAGE


@dataclass(slots=True, kw_only=True, eq=False)
class Media(Row):
    """A file of a message."""

    INDEXED: ClassVar[tuple[str, ...]] = ("parent_sid",)

    parent_sid: str
    content_type: str
    content: bytes = b""


FINAL_CALL = frozenset({"completed", "busy", "failed", "no-answer", "canceled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPlan:
    """What was asked for with a call, and how it will go."""

    outcome: str = "completed"
    callback: str = ""
    callback_method: str = "POST"
    events: frozenset[str] = frozenset({"completed"})
    url: str = ""
    url_method: str = "POST"
    twiml: str = ""
    time_limit: int = 14_400
    record: bool = False
    recording: "RecordingPlan | None" = None
    detect_machine: str = ""
    amd_callback: str = ""
    amd_method: str = "POST"
    asynchronous: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingPlan:
    """Where the status of a recording goes, and how it is made."""

    callback: str = ""
    callback_method: str = "POST"
    events: frozenset[str] = frozenset({"completed"})
    channels: int = 1
    track: str = "both"
    transcribe: bool = False
    transcribe_callback: str = ""


@dataclass(slots=True, kw_only=True, eq=False)
class Call(Row):
    """A call of either direction."""

    INDEXED: ClassVar[tuple[str, ...]] = ("to", "from_", "parent_call_sid", "status")

    to: str
    from_: str
    status: str = "queued"
    direction: str = "outbound-api"
    parent_call_sid: str | None = None
    start: int | None = None
    end: int | None = None
    duration: int | None = None
    answered: float | None = None  # when the other side answered
    answered_by: str | None = None
    price: str | None = None
    phone_number_sid: str | None = None
    caller_name: str | None = None
    forwarded_from: str | None = None
    queue_time: int = 0  # milliseconds
    sequence: int = 0  # of the next status callback
    plan: CallPlan = CallPlan()

    @property
    def second(self) -> int:
        """By start time, before that by date created."""
        return self.created if self.start is None else self.start

    @property
    def is_final(self) -> bool:
        """Whether it is over."""
        return self.status in FINAL_CALL


@dataclass(slots=True, kw_only=True, eq=False)
class Recording(Row):
    """A recording of a call or conference; its media is generated when asked for."""

    INDEXED: ClassVar[tuple[str, ...]] = ("call_sid", "conference_sid")

    call_sid: str | None = None
    conference_sid: str | None = None
    start: int | None = None
    began: float = 0.0
    duration: int | None = None
    status: str = "completed"
    source: str = "OutboundAPI"
    channels: int = 1
    track: str = "both"
    price: str | None = None
    error_code: int | None = None
    deleted_at: float | None = None
    plan: RecordingPlan = RecordingPlan()


@dataclass(slots=True, kw_only=True, eq=False)
class Transcription(Row):
    """A legacy transcription of a recording."""

    INDEXED: ClassVar[tuple[str, ...]] = ("recording_sid",)

    recording_sid: str
    duration: int | None = None
    status: str = "completed"
    text: str | None = None
    price: float | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class Alert(Row):
    """An entry of the debugger."""

    INDEXED: ClassVar[tuple[str, ...]] = ("log_level",)

    error_code: str
    log_level: str = "error"
    text: str = ""
    generated: int | None = None
    resource_sid: str | None = None
    service_sid: str | None = None
    request_method: str | None = None
    request_url: str = ""
    request_headers: str = ""
    request_variables: str = ""
    response_headers: str = ""
    response_body: str = ""

    @property
    def second(self) -> int:
        """By date generated."""
        return self.created if self.generated is None else self.generated


@dataclass(slots=True, kw_only=True, eq=False)
class Notification(Row):
    """A warning or error of a call; `log` is 0 for errors and 1 for warnings."""

    INDEXED: ClassVar[tuple[str, ...]] = ("call_sid", "log")

    call_sid: str | None = None
    error_code: str = "11200"
    log: str = "0"
    message_date: int | None = None
    message_text: str = ""
    request_method: str | None = "POST"
    request_url: str | None = None
    request_variables: str = ""
    response_headers: str = ""
    response_body: str = ""


@dataclass(slots=True, kw_only=True, eq=False)
class CallEvent(Row):
    """An HTTP request that concerned a call."""

    INDEXED: ClassVar[tuple[str, ...]] = ("call_sid",)

    call_sid: str
    request: dict[str, Any]
    response: dict[str, Any]


@dataclass(slots=True, kw_only=True, eq=False)
class PhoneNumber(Row):
    """A number of the account, with the settings that were given by their JSON names."""

    INDEXED: ClassVar[tuple[str, ...]] = ("number",)

    number: str
    friendly_name: str
    origin: str = "twilio"
    beta: bool = False
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True, eq=False)
class CallerId(Row):
    """A verified number that another account owns."""

    INDEXED: ClassVar[tuple[str, ...]] = ("number",)

    number: str
    friendly_name: str


@dataclass(slots=True, kw_only=True, eq=False)
class Application(Row):
    """A TwiML application, with the settings that were given by their JSON names."""

    friendly_name: str
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True, eq=False)
class Key(Row):
    """An API key as the API shows it; the secret is shown once."""

    friendly_name: str


@dataclass(slots=True, kw_only=True, eq=False)
class Plain(Row):
    """A row of a list that is only read: what its template does not say."""

    INDEXED: ClassVar[tuple[str, ...]] = ("parent",)

    parent: str = ""
    name: str = ""
    status: str = ""


@dataclass(slots=True, kw_only=True, eq=False)
class AccountRow(Row):
    """An account as a row, made when accounts are listed."""

    account: Account

    @property
    def friendly_name(self) -> str:
        """The account's name."""
        return self.account.friendly_name

    @property
    def status(self) -> str:
        """The account's status."""
        return self.account.status
