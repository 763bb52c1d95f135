"""The rows: what the simulator keeps of each resource, besides what every row has."""

from dataclasses import dataclass
from typing import ClassVar

from connector.simulator.collection import Row

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
        """By date sent, before that by date created (facts 4.1)."""
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
