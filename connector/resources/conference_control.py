"""Conferences: end one, mute somebody in it. Twilio: voice/api/conference-resource, conference-participant-resource."""

from typing import Annotated, Literal

from pydantic import Field

from connector.resources.commands import Operation
from connector.resources.conferences import Conference
from connector.resources.fields import CallSid, ConferenceSid
from connector.resources.rows import ACCOUNT, Parameters

ONE = f"{ACCOUNT}/Conferences/{{sid}}.json"
PARTICIPANT = f"{ACCOUNT}/Conferences/{{conference_sid}}/Participants/{{call_sid}}.json"


class EndConference(Parameters):
    """Parameters of `end-conference`: everybody in it is hung up on, unless their TwiML goes on."""

    sid: Annotated[ConferenceSid, Field(description="CF….")]
    status: Annotated[Literal["completed"], Field(description="What it becomes; no other value.")] = "completed"


class MuteParticipant(Parameters):
    """Parameters of `mute-participant`: the others do not hear this call any more, or hear it again."""

    conference_sid: Annotated[ConferenceSid, Field(description="CF….")]
    call_sid: Annotated[CallSid, Field(description="The participant's call, CA….")]
    muted: Annotated[bool, Field(description="false: heard again.")] = True


# A conference that has ended may not be found any more.
END = Operation(
    name="UpdateConference",
    parameters=EndConference,
    method="POST",
    path=ONE,
    bundle=Conference,
    repeatable=True,
    repeat_done_codes=frozenset({20404}),
)
# What Twilio answers has no SID of its own: a participant is a call in a conference.
MUTE = Operation(
    name="UpdateParticipant",
    parameters=MuteParticipant,
    method="POST",
    path=PARTICIPANT,
    answer="raw",
    repeatable=True,
)

OPERATIONS = {"end-conference": {None: END}, "mute-participant": {None: MUTE}}
