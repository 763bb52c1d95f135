"""A command that may be sent. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime

from connector.executor.pending import Pending
from connector.resources.rows import Operation, Parameters, Request
from connector.twilio.client import TwilioClient


@dataclass(frozen=True, slots=True)
class Job:
    """Operation, parameters, connection and request of a command; `alike` is what Twilio's list would tell apart."""

    command: Pending
    operation: Operation
    parameters: Parameters
    client: TwilioClient
    request: Request
    expires_at: datetime | None
    repeatable: bool
    alike: str

    @property
    def expired(self) -> bool:
        """Whether it is not to be executed any more."""
        return self.expires_at is not None and datetime.now(UTC) >= self.expires_at
