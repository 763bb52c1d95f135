"""TwiML applications: their callbacks are used where a message or call names one (Twilio, usage/api/applications)."""

from typing import Any

from connector.simulator.addresses import is_web_url
from connector.simulator.errors import not_found, refusal
from connector.simulator.filters import Equal
from connector.simulator.form import Form
from connector.simulator.paging import Listing, page_2010
from connector.simulator.routes import Reply, Request, Route, names, rendering
from connector.simulator.rows import Application
from connector.simulator.times import rfc2822

MAX_NAME = 64
DEFAULTS: dict[str, Any] = {
    "api_version": "2010-04-01",
    "message_status_callback": None,
    "public_application_connect_enabled": False,
    "sms_fallback_method": "POST",
    "sms_fallback_url": None,
    "sms_method": "POST",
    "sms_status_callback": None,
    "sms_url": None,
    "status_callback": None,
    "status_callback_method": "POST",
    "voice_caller_id_lookup": False,
    "voice_fallback_method": "POST",
    "voice_fallback_url": None,
    "voice_method": "POST",
    "voice_url": None,
}
SETTINGS = {"".join(part.capitalize() for part in name.split("_")): name for name in DEFAULTS}
BOOLEANS = ("PublicApplicationConnectEnabled", "VoiceCallerIdLookup")
KNOWN = names("FriendlyName", *SETTINGS)


@rendering
def render(row: Application) -> dict[str, Any]:
    """Write an application as `api.v2010.account.application`."""
    return {
        "account_sid": row.account_sid,
        "date_created": rfc2822(row.created),
        "date_updated": rfc2822(row.updated),
        "friendly_name": row.friendly_name,
        "sid": row.sid,
        "uri": f"/2010-04-01/Accounts/{row.account_sid}/Applications/{row.sid}.json",
        **DEFAULTS,
        **row.values,
    }


LISTING = Listing(key="applications", filters=(Equal("FriendlyName", "friendly_name"),), render=render)


def list_(request: Request) -> Reply:
    """List applications."""
    return page_2010(request, LISTING, request.store.applications)


def find(request: Request) -> Application:
    """Return the application of the path; refuses with 20404."""
    row = request.store.applications.rows.get(request.sids[0])
    if row is None:
        raise not_found(request.path)
    return row


def fetch(request: Request) -> Reply:
    """Fetch one."""
    row = find(request)
    return Reply(body=render(row), sid=row.sid, name="Application")


def create(request: Request) -> Reply:
    """Create one."""
    now, sid = int(request.state.now()), request.state.new_sid("AP")
    row = Application(
        sid=sid,
        account_sid=request.account.sid,
        created=now,
        updated=now,
        tie=request.state.new_tie(sid),
        friendly_name=request.parameters.get("FriendlyName"),
        values=_settings(request.parameters, {}),
    )
    request.store.applications.add(row)
    return Reply(status=201, body=render(row), sid=row.sid, name="Application")


def update(request: Request) -> Reply:
    """Change settings."""
    row = find(request)
    row.values = _settings(request.parameters, row.values)
    row.friendly_name = request.parameters.get("FriendlyName") or row.friendly_name
    row.updated = int(request.state.now())
    return Reply(body=render(row), sid=row.sid, name="Application")


def _settings(form: Form, current: dict[str, Any]) -> dict[str, Any]:
    if len(form.get("FriendlyName")) > MAX_NAME:
        raise refusal(20001, message="FriendlyName must have at most 64 characters")
    values = current | {json: form.get(name) or None for name, json in SETTINGS.items() if name in form}
    for name in BOOLEANS:
        if name in form:
            values[SETTINGS[name]] = form.boolean(name)
    for name, value in values.items():
        if name.endswith(("url", "callback")) and value and not is_web_url(value):
            raise refusal(20001, message=f"{name} is not a valid URL")
    return values


def delete(request: Request) -> Reply:
    """Delete one."""
    row = find(request)
    request.store.applications.discard(row)
    return Reply(status=204, sid=row.sid)


ROUTES = (
    Route("ListApplication", "GET", "Accounts/*/Applications", list_, LISTING.known),
    Route("CreateApplication", "POST", "Accounts/*/Applications", create, KNOWN),
    Route("FetchApplication", "GET", "Accounts/*/Applications/*", fetch),
    Route("UpdateApplication", "POST", "Accounts/*/Applications/*", update, KNOWN),
    Route("DeleteApplication", "DELETE", "Accounts/*/Applications/*", delete),
)
