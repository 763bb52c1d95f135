"""Verifications: start one, check its code. Twilio: verify/api/verification, verify/api/verification-check."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints

from connector.resources.commands import Operation
from connector.resources.fields import JsonObject, Optional, Text, Timestamp, sid
from connector.resources.models import AnyOf, Rule
from connector.resources.rows import Bundle, Parameters

SERVICE = "/v2/Services/{service_sid}"
ServiceSid = Annotated[str, sid("VA"), Field(description="Verify service, VA….")]
Recipient = Annotated[str, StringConstraints(min_length=1, max_length=320)]


class Verification(Bundle):
    """A verification that was started."""

    sid: str
    account_sid: Optional = None
    amount: Text = None
    channel: Text = None
    date_created: Timestamp = None
    date_updated: Timestamp = None
    lookup: Any = None
    payee: Text = None
    send_code_attempts: Annotated[list[Any] | None, Field(description="Each message or call with the code.")] = None
    service_sid: Optional = None
    sna: Any = None
    status: Annotated[
        Text, Field(description="pending, approved, canceled, max_attempts_reached, deleted, failed or expired.")
    ] = None
    to: Text = None
    url: Text = None
    valid: Annotated[bool | None, Field(description="Use status.")] = None


class VerificationCheck(Bundle):
    """What a code was worth: `status` is `approved`, or `pending` for a wrong one."""

    sid: str
    account_sid: Optional = None
    amount: Text = None
    channel: Text = None
    date_created: Timestamp = None
    date_updated: Timestamp = None
    payee: Text = None
    service_sid: Optional = None
    sna_attempts_error_codes: list[Any] | None = None
    status: Annotated[Text, Field(description="approved, pending, canceled, expired, …")] = None
    to: Text = None
    valid: bool | None = None


class StartVerification(Parameters):
    """Parameters of `start-verification`. While one is pending, starting another sends its code again."""

    service_sid: ServiceSid
    to: Annotated[Recipient, Field(description="E.164 number, or the e-mail address of channel email.")]
    channel: Annotated[
        Literal["sms", "call", "email", "whatsapp", "sna", "auto"],
        Field(description="How the code gets there."),
    ] = "sms"
    custom_friendly_name: Annotated[str | None, Field(description="Instead of the service's name.")] = None
    custom_message: Annotated[str | None, Field(description="Deprecated by Twilio.")] = None
    send_digits: Annotated[str | None, Field(description="Dialled when a call is answered: 0-9, #, w.")] = None
    locale: Annotated[str | None, Field(description="Language of the message, such as en or pt-BR.")] = None
    custom_code: Annotated[str | None, Field(min_length=4, max_length=10, description="A code of your own.")] = None
    amount: Annotated[str | None, Field(description="Of a payment (PSD2).")] = None
    payee: Annotated[str | None, Field(description="Of a payment (PSD2).")] = None
    rate_limits: Annotated[JsonObject | None, Field(description="Keys of the service's rate limits.")] = None
    channel_configuration: Annotated[JsonObject | None, Field(description="Of channel email.")] = None
    app_hash: Annotated[str | None, Field(description="For Android's SMS Retriever.")] = None
    template_sid: Annotated[Annotated[str, sid("HJ")] | None, Field(description="Message template, HJ….")] = None
    template_custom_substitutions: Annotated[JsonObject | None, Field(description="Of the template.")] = None
    device_ip: Annotated[str | None, Field(description="The user's address.")] = None
    enable_sna_client_token: Annotated[bool | None, Field(description="With channel sna.")] = None
    risk_check: Annotated[Literal["enable", "disable"] | None, Field(description="disable: skip Fraud Guard.")] = None
    tags: Annotated[JsonObject | None, Field(description="Kept with the verification.")] = None


class CheckVerification(Parameters):
    """Parameters of `check-verification`: the code that the user has typed."""

    rules: ClassVar[tuple[Rule, ...]] = (AnyOf(("to", "verification_sid")),)

    service_sid: ServiceSid
    code: Annotated[str | None, Field(min_length=4, max_length=10, description="What the user typed.")] = None
    to: Annotated[Recipient | None, Field(description="The number or address that the code went to.")] = None
    verification_sid: Annotated[Annotated[str, sid("VE")] | None, Field(description="Instead of to, VE….")] = None
    amount: Annotated[str | None, Field(description="As it was started with.")] = None
    payee: Annotated[str | None, Field(description="As it was started with.")] = None
    sna_client_token: Annotated[str | None, Field(description="Of channel sna.")] = None


# Each start sends one more message, each check counts against the five that a verification has, and an approved one
# answers 20404 from then on: neither is repeated. Twilio lists no verifications in which a lost one could be found.
START = Operation(
    name="CreateVerification",
    parameters=StartVerification,
    method="POST",
    path=f"{SERVICE}/Verifications",
    bundle=Verification,
    host="verify",
)
CHECK = Operation(
    name="CreateVerificationCheck",
    parameters=CheckVerification,
    method="POST",
    path=f"{SERVICE}/VerificationCheck",
    bundle=VerificationCheck,
    host="verify",
)

OPERATIONS = {"start-verification": {None: START}, "check-verification": {None: CHECK}}
