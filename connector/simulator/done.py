"""What commands did beside messages and calls, of one account."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True, kw_only=True)
class Verification:
    """A verification of a service; `checks` counts wrong and right codes."""

    sid: str
    service_sid: str
    to: str
    channel: str
    code: str
    created: int
    status: str = "pending"
    sends: list[dict[str, Any]] = field(default_factory=list)
    checks: int = 0


@dataclass(slots=True, kw_only=True)
class Post:
    """A message of a conversation."""

    sid: str
    conversation_sid: str
    created: int
    updated: int
    index: int
    author: str
    body: str | None
    attributes: str
    content_sid: str | None


@dataclass(slots=True)
class Done:
    """What was done, of one account."""

    verifications: dict[str, Verification] = field(default_factory=dict)
    posts: dict[str, list[Post]] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)  # conference -> when
    muted: dict[tuple[str, str], bool] = field(default_factory=dict)  # conference and call
