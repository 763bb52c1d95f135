"""Phone numbers: get, list, buy, update, release. Twilio: phone-numbers/api/incomingphonenumber-resource."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints

from connector.resources.commands import Operation, Reconciliation
from connector.resources.fields import (
    E164,
    AccountSid,
    AddressSid,
    ApplicationSid,
    BundleSid,
    CallbackUrl,
    Filter,
    IdentitySid,
    Limit,
    Method,
    Optional,
    PhoneNumberSid,
    Shape,
    Text,
    Timestamp,
    TrunkSid,
    Url,
)
from connector.resources.models import AnyOf, AtMostOne, Needs, Rule, Something
from connector.resources.operations import deleting, fetching, listing
from connector.resources.rows import ACCOUNT, BOOLEANS, Bundle, Parameters, Watch

LIST = f"{ACCOUNT}/IncomingPhoneNumbers.json"
ONE = f"{ACCOUNT}/IncomingPhoneNumbers/{{sid}}.json"
AreaCode = Annotated[str, Shape(r"^[2-9][0-9]{2}$", "an area code: three digits, the first from 2 on")]
HowRequested = Annotated[Method | None, Field(description="GET or POST; POST unless given.")]


class PhoneNumber(Bundle):
    """A number of the account, and what Twilio does when it is called or written to."""

    sid: str
    account_sid: Optional = None
    address_requirements: Annotated[Text, Field(description="none, any, local or foreign.")] = None
    address_sid: Optional = None
    api_version: Text = None
    beta: bool | None = None
    bundle_sid: Optional = None
    capabilities: Annotated[dict[str, Any] | None, Field(description="voice, sms, mms and fax: true or false.")] = None
    date_created: Timestamp = None
    date_updated: Timestamp = None
    emergency_address_sid: Optional = None
    emergency_address_status: Text = None
    emergency_status: Annotated[Text, Field(description="Active or Inactive.")] = None
    friendly_name: Text = None
    identity_sid: Optional = None
    origin: Annotated[Text, Field(description="twilio or hosted.")] = None
    phone_number: Optional = None
    sms_application_sid: Optional = None
    sms_fallback_method: Optional = None
    sms_fallback_url: Optional = None
    sms_method: Optional = None
    sms_url: Optional = None
    status: Text = None
    status_callback: Optional = None
    status_callback_method: Optional = None
    trunk_sid: Optional = None
    type: Text = None
    uri: Text = None
    voice_application_sid: Optional = None
    voice_caller_id_lookup: bool | None = None
    voice_fallback_method: Optional = None
    voice_fallback_url: Optional = None
    voice_method: Optional = None
    voice_receive_mode: Annotated[Text, Field(description="voice or fax.")] = None
    voice_url: Optional = None


class Settings(Parameters):
    """The settings of a number, as a purchase and an update have them."""

    friendly_name: Annotated[
        str | None, StringConstraints(max_length=64), Field(description="At most 64 characters.")
    ] = None
    api_version: Annotated[
        Literal["2010-04-01", "2008-08-01"] | None, Field(description="Version of Twilio's API for its TwiML.")
    ] = None
    sms_url: Annotated[Url | None, Field(description="Called for inbound messages.")] = None
    sms_method: HowRequested = None
    sms_fallback_url: Annotated[Url | None, Field(description="Called if sms_url fails.")] = None
    sms_fallback_method: HowRequested = None
    sms_application_sid: Annotated[
        ApplicationSid | None, Field(description="Handles inbound messages; sms_url and its like are ignored then.")
    ] = None
    voice_url: Annotated[Url | None, Field(description="Called for inbound calls.")] = None
    voice_method: HowRequested = None
    voice_fallback_url: Annotated[Url | None, Field(description="Called if voice_url fails.")] = None
    voice_fallback_method: HowRequested = None
    voice_application_sid: Annotated[
        ApplicationSid | None, Field(description="Handles inbound calls; replaces trunk_sid.")
    ] = None
    voice_caller_id_lookup: Annotated[bool | None, Field(description="Look up callers' names; charged.")] = None
    voice_receive_mode: Annotated[Literal["voice", "fax"] | None, Field(description="What inbound calls are.")] = None
    status_callback: Annotated[CallbackUrl | None, Field(description="Called when a call ends.")] = None
    status_callback_method: HowRequested = None
    trunk_sid: Annotated[TrunkSid | None, Field(description="SIP trunk; replaces voice_application_sid.")] = None
    emergency_status: Annotated[Literal["Active", "Inactive"] | None, Field(description="Emergency calling.")] = None
    emergency_address_sid: Annotated[AddressSid | None, Field(description="Address for emergency calls.")] = None
    identity_sid: Annotated[IdentitySid | None, Field(description="Identity that regulation asks for.")] = None
    address_sid: Annotated[AddressSid | None, Field(description="Address that regulation asks for.")] = None
    bundle_sid: Annotated[BundleSid | None, Field(description="Regulatory bundle.")] = None


class BuyPhoneNumber(Settings):
    """Parameters of `buy-phone-number`."""

    # facts: 3.7; codes 21405, 21406
    rules: ClassVar[tuple[Rule, ...]] = (
        AnyOf(("phone_number", "area_code")),
        AtMostOne(("phone_number", "area_code")),
        Needs("sms_fallback_url", "sms_url"),
        Needs("voice_fallback_url", "voice_url"),
    )

    phone_number: Annotated[E164 | None, Field(description="This number (21421, 21422).")] = None
    area_code: Annotated[
        AreaCode | None,
        Field(description="Any number of this area; three digits, United States and Canada only (21452)."),
    ] = None


class UpdatePhoneNumber(Settings):
    """Parameters of `update` with resource `phone-number`."""

    rules: ClassVar[tuple[Rule, ...]] = (Something(besides=("resource", "sid")),)

    resource: Literal["phone-number"]
    sid: Annotated[PhoneNumberSid, Field(description="PN….")]
    account_sid: Annotated[AccountSid | None, Field(description="Moves the number to this account.")] = None


class GetPhoneNumber(Parameters):
    """Parameters of `get` with resource `phone-number`."""

    resource: Literal["phone-number"]
    sid: Annotated[PhoneNumberSid, Field(description="PN….")]


class DeletePhoneNumber(Parameters):
    """Parameters of `delete` with resource `phone-number`: releases it, as a rule for good."""

    resource: Literal["phone-number"]
    sid: Annotated[PhoneNumberSid, Field(description="PN….")]


class ListPhoneNumbers(Parameters):
    """Parameters of `list` with resource `phone-numbers`."""

    resource: Literal["phone-numbers"]
    phone_number: Annotated[Filter | None, Field(description="Whole or in part; * is any digit.")] = None
    friendly_name: Annotated[Filter | None, Field(description="Exactly this name.")] = None
    beta: Annotated[bool | None, Field(description="Include numbers new to Twilio; true unless given.")] = None
    origin: Annotated[Literal["twilio", "hosted"] | None, Field(description="Where the number comes from.")] = None
    limit: Limit = None


BUY = Operation(
    name="CreateIncomingPhoneNumber",
    parameters=BuyPhoneNumber,
    method="POST",
    path=LIST,
    bundle=PhoneNumber,
    reconciliation=Reconciliation(
        path=LIST,
        items="incoming_phone_numbers",
        filters={"phone_number": "PhoneNumber", "area_code": "PhoneNumber"},
        masks={"area_code": "+1{}*******"},
        compared={"phone_number": "phone_number", "friendly_name": "friendly_name"},
    ),
)
UPDATE = Operation(
    name="UpdateIncomingPhoneNumber",
    parameters=UpdatePhoneNumber,
    method="POST",
    path=ONE,
    bundle=PhoneNumber,
    repeatable=True,
)
LISTING = listing("ListIncomingPhoneNumber", ListPhoneNumbers, LIST, "incoming_phone_numbers", PhoneNumber)

# The list has no date filters, and its order is not documented: each poll reads all numbers.
WATCH = Watch(
    resource="phone-numbers",
    noun="phone-number",
    path=LIST,
    items="incoming_phone_numbers",
    bundle=PhoneNumber,
    filters={"phone_number": "PhoneNumber", "friendly_name": "FriendlyName", "beta": "Beta", "origin": "Origin"},
    choices={"beta": BOOLEANS, "origin": ("twilio", "hosted")},
    version=(
        *("friendly_name", "status", "capabilities", "bundle_sid", "address_sid", "identity_sid", "trunk_sid"),
        *("sms_url", "sms_method", "sms_fallback_url", "sms_fallback_method", "sms_application_sid"),
        *("voice_url", "voice_method", "voice_fallback_url", "voice_fallback_method", "voice_application_sid"),
        *("status_callback", "status_callback_method", "emergency_status", "emergency_address_sid"),
    ),
    fetch=ONE,
    operation="ListIncomingPhoneNumber",
    newest_first=False,
    is_standard=False,
)

WATCHES = (WATCH,)
OPERATIONS = {
    "buy-phone-number": {None: BUY},
    "get": {"phone-number": fetching("FetchIncomingPhoneNumber", GetPhoneNumber, ONE, PhoneNumber)},
    "list": {"phone-numbers": LISTING},
    "update": {"phone-number": UPDATE},
    "delete": {"phone-number": deleting("DeleteIncomingPhoneNumber", DeletePhoneNumber, ONE)},
}
