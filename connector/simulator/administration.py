"""Accounts and API keys: subaccounts are made, suspended and listed; Standard keys may not come here.

Source: Twilio, iam/api-keys.
"""

from dataclasses import replace
from typing import Any

from connector.simulator.accounts import Account, ApiKey
from connector.simulator.collection import Collection, Row
from connector.simulator.errors import not_found, refusal
from connector.simulator.filters import Equal
from connector.simulator.paging import Listing, page_2010
from connector.simulator.routes import Reply, Request, Route, names
from connector.simulator.rows import AccountRow, Key
from connector.simulator.times import rfc2822

STATUSES = ("active", "suspended", "closed")


def render(row: AccountRow) -> dict[str, Any]:
    """Write an account as `api.v2010.account`."""
    account, uri = row.account, f"/2010-04-01/Accounts/{row.sid}"
    return {
        "auth_token": account.auth_token,
        "date_created": rfc2822(row.created),
        "date_updated": rfc2822(row.updated),
        "friendly_name": account.friendly_name,
        "owner_account_sid": account.parent or account.sid,
        "sid": account.sid,
        "status": account.status,
        "subresource_uris": {"messages": f"{uri}/Messages.json", "calls": f"{uri}/Calls.json"},
        "type": "Trial" if account.trial else "Full",
        "uri": f"{uri}.json",
    }


LISTING = Listing(
    key="accounts", filters=(Equal("FriendlyName", "friendly_name"), Equal("Status", "status")), render=render
)


def _row(request: Request, account: Account) -> AccountRow:
    opened = request.state.stores[account.sid].opened
    return AccountRow(sid=account.sid, account_sid=account.sid, created=opened, updated=opened, account=account)


def list_(request: Request) -> Reply:
    """List the account itself and its subaccounts."""
    rows = Collection(AccountRow)
    own = request.account.sid
    rows.add_many(_row(request, a) for a in request.state.accounts.values() if own in {a.sid, a.parent})
    return page_2010(request, LISTING, rows)


def create(request: Request) -> Reply:
    """Make a subaccount with a token of its own and no numbers."""
    account = Account(
        sid=request.state.new_sid("AC"),
        auth_token=request.state.new_sid("")[:32],
        friendly_name=request.parameters.get("FriendlyName") or "SubAccount",
        parent=request.account.sid,
        phone_numbers=(),
        services=(),
        api_keys=(),
    )
    request.state.add_account(account)
    return Reply(status=201, body=render(_row(request, account)), sid=account.sid, name="Account")


def fetch(request: Request) -> Reply:
    """Fetch one."""
    return Reply(body=render(_row(request, request.account)), sid=request.account.sid, name="Account")


def update(request: Request) -> Reply:
    """Rename, suspend, reactivate or close."""
    form = request.parameters
    account = replace(
        request.account,
        friendly_name=form.get("FriendlyName") or request.account.friendly_name,
        status=form.choice("Status", STATUSES) or request.account.status,
    )
    request.state.add_account(account)
    return Reply(body=render(_row(request, account)), sid=account.sid, name="Account")


def render_key(row: Key) -> dict[str, Any]:
    """Write a key as `api.v2010.account.key`."""
    return {
        "sid": row.sid,
        "friendly_name": row.friendly_name,
        "date_created": rfc2822(row.created),
        "date_updated": rfc2822(row.updated),
    }


KEYS = Listing(key="keys", filters=(), render=render_key)


def list_keys(request: Request) -> Reply:
    """List the keys."""
    return page_2010(request, KEYS, request.store.keys)


def create_key(request: Request) -> Reply:
    """Make a Standard key; its secret is shown only here."""
    key = ApiKey(sid=request.state.new_sid("SK"), secret=request.state.new_sid("")[:32])
    request.state.add_account(replace(request.account, api_keys=(*request.account.api_keys, key)))
    row = request.store.new_key(request.state, key.sid, request.parameters.get("FriendlyName"))
    return Reply(status=201, body=render_key(row) | {"secret": key.secret}, sid=key.sid, name="Key")


def _find_key(request: Request) -> Row:
    row = request.store.keys.rows.get(request.sids[0])
    if row is None:
        raise not_found(request.path)
    return row


def fetch_key(request: Request) -> Reply:
    """Fetch one, without its secret."""
    row = _find_key(request)
    return Reply(body=render_key(request.store.keys.rows[row.sid]), sid=row.sid, name="Key")


def delete_key(request: Request) -> Reply:
    """Revoke a key; one cannot revoke itself."""
    row = _find_key(request)
    if row.sid == request.credential:
        raise refusal(20003)
    request.store.keys.discard(request.store.keys.rows[row.sid])
    kept = tuple(key for key in request.account.api_keys if key.sid != row.sid)
    request.state.add_account(replace(request.account, api_keys=kept))
    return Reply(status=204, sid=row.sid)


ROUTES = (
    Route("ListAccount", "GET", "Accounts", list_, LISTING.known),
    Route("CreateAccount", "POST", "Accounts", create, names("FriendlyName")),
    Route("FetchAccount", "GET", "Accounts/*", fetch),
    Route("UpdateAccount", "POST", "Accounts/*", update, names("FriendlyName", "Status")),
    Route("ListKey", "GET", "Accounts/*/Keys", list_keys, KEYS.known),
    Route("CreateNewKey", "POST", "Accounts/*/Keys", create_key, names("FriendlyName")),
    Route("FetchKey", "GET", "Accounts/*/Keys/*", fetch_key),
    Route("DeleteKey", "DELETE", "Accounts/*/Keys/*", delete_key),
)
