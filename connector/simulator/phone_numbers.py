"""Phone numbers: buy, list, fetch, update, release; and the caller ids verified for others' numbers.

Source: Twilio, phone-numbers/api/incomingphonenumber-resource.
"""

import re
from typing import Any

from connector.simulator import magic
from connector.simulator.addresses import formatted, is_web_url, normalise
from connector.simulator.errors import not_found, refusal
from connector.simulator.filters import Equal, Test
from connector.simulator.form import Form
from connector.simulator.paging import Listing, page_2010
from connector.simulator.routes import Reply, Request, Route, names, rendering
from connector.simulator.rows import CallerId, PhoneNumber
from connector.simulator.times import rfc2822

MAX_NAME = 64
MAX_SUBSCRIBER = 9999
DEFAULTS: dict[str, Any] = {
    "address_sid": None,
    "api_version": "2010-04-01",
    "bundle_sid": None,
    "emergency_address_sid": None,
    "emergency_status": "Inactive",
    "identity_sid": None,
    "sms_application_sid": None,
    "sms_fallback_method": "POST",
    "sms_fallback_url": "",
    "sms_method": "POST",
    "sms_url": "",
    "status_callback": "",
    "status_callback_method": "POST",
    "trunk_sid": None,
    "voice_application_sid": None,
    "voice_caller_id_lookup": False,
    "voice_fallback_method": "POST",
    "voice_fallback_url": None,
    "voice_method": "POST",
    "voice_receive_mode": "voice",
    "voice_url": None,
}
SETTINGS = {"".join(part.capitalize() for part in name.split("_")): name for name in DEFAULTS}
URLS = ("SmsUrl", "SmsFallbackUrl", "VoiceUrl", "VoiceFallbackUrl", "StatusCallback")
METHODS = ("SmsMethod", "SmsFallbackMethod", "VoiceMethod", "VoiceFallbackMethod", "StatusCallbackMethod")
KNOWN_UPDATE = names("AccountSid", "FriendlyName", *SETTINGS)
KNOWN_CREATE = names("PhoneNumber", "AreaCode", "FriendlyName", *SETTINGS)


@rendering
def render(row: PhoneNumber) -> dict[str, Any]:
    """Write a number as `api.v2010.account.incoming_phone_number`."""
    return {
        "account_sid": row.account_sid,
        "address_requirements": "none",
        "beta": row.beta,
        "capabilities": {"voice": True, "sms": True, "mms": True, "fax": False},
        "date_created": rfc2822(row.created),
        "date_updated": rfc2822(row.updated),
        "emergency_address_status": "unregistered",
        "friendly_name": row.friendly_name,
        "origin": row.origin,
        "phone_number": row.number,
        "sid": row.sid,
        "status": "in-use",
        "type": "local",
        "uri": f"/2010-04-01/Accounts/{row.account_sid}/IncomingPhoneNumbers/{row.sid}.json",
        **DEFAULTS,
        **row.values,
    }


def _matches(row: PhoneNumber, wanted: str) -> bool:
    """Whether a number contains the wanted digits; `*` is any digit."""
    pattern = "".join(r"\d" if char == "*" else re.escape(char) for char in wanted)
    return re.search(pattern, row.number) is not None


LISTING = Listing(
    key="incoming_phone_numbers",
    filters=(
        Test("Beta", lambda row, wanted: not row.beta or wanted.lower() != "false"),
        Equal("FriendlyName", "friendly_name"),
        Test("PhoneNumber", _matches),
        Equal("Origin", "origin"),
    ),
    render=render,
)


def list_(request: Request) -> Reply:
    """List the numbers."""
    return page_2010(request, LISTING, request.store.phone_numbers)


def find(request: Request) -> PhoneNumber:
    """Return the number of the path; refuses with 20404."""
    row = request.store.phone_numbers.rows.get(request.sids[0])
    if row is None:
        raise not_found(request.path)
    return row


def fetch(request: Request) -> Reply:
    """Fetch one."""
    row = find(request)
    return Reply(body=render(row), sid=row.sid, name="IncomingPhoneNumber")


def buy(request: Request) -> Reply:
    """Buy a given number, which cannot be bought twice, or any of an area code, which can."""
    form = request.parameters
    number = _wanted_number(request, form)
    row = request.store.new_phone_number(request.state, number)
    row.friendly_name = form.get("FriendlyName") or formatted(number)
    row.values = _settings(form, {})
    if not request.account.test:
        request.store.phone_numbers.add(row)
    return Reply(status=201, body=render(row), sid=row.sid, name="IncomingPhoneNumber")


def _wanted_number(request: Request, form: Form) -> str:
    given, area_code, number = form.get("PhoneNumber"), form.get("AreaCode"), normalise(form.get("PhoneNumber"))
    if not given and not area_code:
        raise refusal(21421, message="PhoneNumber or AreaCode is required")
    if code := magic.BUY_NUMBER.get(number) or magic.BUY_AREA_CODE.get("" if given else area_code):
        raise refusal(code)
    if given and not number:
        raise refusal(21421, message=f"PhoneNumber is invalid: {given}")
    if given and (number in request.store.owned_numbers() or (request.account.test and number != magic.OK_NUMBER)):
        raise refusal(21422)
    if not given and not re.fullmatch(r"\d{3}", area_code):
        raise refusal(21452)
    return number or _free_number(request, area_code)


def _free_number(request: Request, area_code: str) -> str:
    owned = request.store.owned_numbers()
    while (number := f"+1{area_code}555{request.state.random.randint(0, MAX_SUBSCRIBER):04d}") in owned:
        pass
    return number


def _settings(form: Form, current: dict[str, Any]) -> dict[str, Any]:
    """Read settings; each fallback URL needs its URL, SMS application and trunk displace what they displace."""
    if len(form.get("FriendlyName")) > MAX_NAME:
        raise refusal(20001, message="FriendlyName must have at most 64 characters")
    for name in METHODS:
        form.choice(name, ("GET", "POST"))
    for name in URLS:
        if form.get(name) and not is_web_url(form.get(name)):
            raise refusal(20001, message=f"{name} is not a valid URL")
    values = current | {json: form.get(name) for name, json in SETTINGS.items() if name in form}
    if "VoiceCallerIdLookup" in form:
        values["voice_caller_id_lookup"] = form.boolean("VoiceCallerIdLookup")
    if values.get("voice_fallback_url") and not values.get("voice_url"):
        raise refusal(21405)
    if values.get("sms_fallback_url") and not values.get("sms_url"):
        raise refusal(21406)
    if form.get("TrunkSid"):
        values["voice_application_sid"] = None
    elif form.get("VoiceApplicationSid"):
        values["trunk_sid"] = None
    return {name: None if name.endswith("_sid") and not value else value for name, value in values.items()}


def update(request: Request) -> Reply:
    """Change settings, or hand the number to a related account."""
    row, form = find(request), request.parameters
    row.values = _settings(form, row.values)
    row.friendly_name = form.get("FriendlyName") or row.friendly_name
    row.updated = int(request.state.now())
    if form.get("AccountSid"):
        _transfer(request, row, form.get("AccountSid"))
    return Reply(body=render(row), sid=row.sid, name="IncomingPhoneNumber")


def _transfer(request: Request, row: PhoneNumber, account_sid: str) -> None:
    target = request.state.accounts.get(account_sid)
    if target is None or not {target.parent, target.sid} & {request.account.sid, request.account.parent}:
        raise refusal(20001, message="AccountSid must be a related account")
    request.store.phone_numbers.discard(row)
    row.account_sid = account_sid
    request.state.stores[account_sid].phone_numbers.add(row)


def release(request: Request) -> Reply:
    """Release a number."""
    row = find(request)
    request.store.phone_numbers.discard(row)
    return Reply(status=204, sid=row.sid)


@rendering
def render_caller_id(row: CallerId) -> dict[str, Any]:
    """Write a caller id as `api.v2010.account.outgoing_caller_id`."""
    return {
        "sid": row.sid,
        "date_created": rfc2822(row.created),
        "date_updated": rfc2822(row.updated),
        "friendly_name": row.friendly_name,
        "account_sid": row.account_sid,
        "phone_number": row.number,
        "uri": f"/2010-04-01/Accounts/{row.account_sid}/OutgoingCallerIds/{row.sid}.json",
    }


CALLER_IDS = Listing(
    key="outgoing_caller_ids",
    filters=(Equal("PhoneNumber", "number"), Equal("FriendlyName", "friendly_name")),
    render=render_caller_id,
)


def list_caller_ids(request: Request) -> Reply:
    """List verified caller ids."""
    return page_2010(request, CALLER_IDS, request.store.caller_ids)


def fetch_caller_id(request: Request) -> Reply:
    """Fetch one."""
    row = request.store.caller_ids.rows.get(request.sids[0])
    if row is None:
        raise not_found(request.path)
    return Reply(body=render_caller_id(row), sid=row.sid, name="OutgoingCallerId")


NUMBERS = "Accounts/*/IncomingPhoneNumbers"
ROUTES = (
    Route("ListIncomingPhoneNumber", "GET", NUMBERS, list_, LISTING.known),
    Route("CreateIncomingPhoneNumber", "POST", NUMBERS, buy, KNOWN_CREATE, test_credentials=True),
    Route("FetchIncomingPhoneNumber", "GET", f"{NUMBERS}/*", fetch),
    Route("UpdateIncomingPhoneNumber", "POST", f"{NUMBERS}/*", update, KNOWN_UPDATE),
    Route("DeleteIncomingPhoneNumber", "DELETE", f"{NUMBERS}/*", release),
    Route("ListOutgoingCallerId", "GET", "Accounts/*/OutgoingCallerIds", list_caller_ids, CALLER_IDS.known),
    Route("FetchOutgoingCallerId", "GET", "Accounts/*/OutgoingCallerIds/*", fetch_caller_id),
)
