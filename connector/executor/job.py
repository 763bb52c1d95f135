"""A command that may be sent. Pure."""

from dataclasses import dataclass
from datetime import datetime

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
        return self.expires_at is not None and self.client.clock.now() >= self.expires_at

    @property
    def seconds_left(self) -> float | None:
        """How long it is to be waited for at the most; None: as long as it takes."""
        return None if self.expires_at is None else (self.expires_at - self.client.clock.now()).total_seconds()
