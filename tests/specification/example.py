"""One command as a client sends it, with what Twilio must get and what the result must say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Sent = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One command. Twilio gets one request of `operation` to `path` with exactly these parameters.

    `ours` are parameters that carry our own callback URL (parameter -> kind). `expects` are members of the first
    bundle, `sids` the SIDs of all bundles in any order. Examples with the same `lane` are executed one after the other.
    """

    id: str
    command: str
    value: Mapping[str, Any]
    operation: str
    sends: Sent = field(default_factory=dict)
    ours: Mapping[str, str] = field(default_factory=dict)
    path: str = ""
    method: str = ""
    expects: Mapping[str, Any] = field(default_factory=dict)
    sids: Sequence[str] | None = None
    outcome: str = "succeeded"
    lane: str = ""

    @property
    def resource(self) -> str | None:
        """Which of the command's operations it is."""
        resource: str | None = self.value.get("resource")
        return resource
