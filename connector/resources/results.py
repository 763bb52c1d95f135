"""The result of a command, as it is published (contract: section 4)."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class Outcome(StrEnum):
    """How a command ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REJECTED = "rejected"
    EXPIRED = "expired"
    DUPLICATE = "duplicate"
    UNKNOWN = "unknown"


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, defer_build=True)


class CommandRef(_Value):
    """The command that a result answers."""

    id: Annotated[str, Field(description="The caller's, else topic/partition/offset.")]
    name: Annotated[str, Field(description="Such as send-message.")]
    topic: str
    partition: int
    offset: int


class Error(_Value):
    """Why a command did not succeed."""

    kind: Annotated[
        str, Field(description="Who says so: twilio, invalid, expired, in-doubt or connector; more may follow.")
    ]
    code: Annotated[int | None, Field(description="Twilio's error code.")]
    message: str
    http_status: Annotated[int | None, Field(description="Twilio's HTTP status.")]
    more_info: Annotated[str | None, Field(description="Twilio's page about the code.")]
    retryable: Annotated[bool, Field(description="Whether the same command may succeed later.")]


class Result(_Value):
    """What became of a command: exactly one with `last: true`, apart from those of repeated ids (`duplicate`)."""

    command: CommandRef
    outcome: Annotated[
        Outcome,
        Field(
            description="succeeded; failed: Twilio said no; rejected: never sent, invalid; expired; duplicate: id seen "
            "before; unknown: sent, answer lost, not found afterwards: do not assume either way."
        ),
    ]
    bundles: Annotated[list[Any], Field(description="What Twilio answered.")]
    page: Annotated[int, Field(ge=0, description="Long lists are several results, from 0.")]
    last: Annotated[bool, Field(description="Whether this is the final result.")]
    error: Error | None
    attempts: Annotated[int, Field(ge=0, description="Requests sent for it.")]
    reconciled: Annotated[bool, Field(description="Found in Twilio's list after the answer was lost.")]
    started_at: datetime
    finished_at: datetime
    request_id: Annotated[str | None, Field(description="Twilio's RQ….")]
