"""Who asks, and whether that credential may act on the account in the path (Twilio, iam/api-keys)."""

import base64
import binascii
from dataclasses import dataclass

from connector.simulator.accounts import Account, ApiKey
from connector.simulator.errors import not_found, refusal
from connector.simulator.routes import Route
from connector.simulator.state import State


@dataclass(frozen=True, slots=True)
class Credential:
    """An authenticated user: the SID given, the account it belongs to, and the API key if it is one."""

    sid: str
    account: Account
    key: ApiKey | None = None


def authenticate(state: State, header: str) -> Credential:
    """Check HTTP Basic credentials; refuses with 401/20003."""
    user, password = _basic(header)
    account = state.accounts.get(user)
    if account is not None and password and password in {account.auth_token, account.secondary_auth_token}:
        return Credential(user, account)
    for owner in state.accounts.values():
        for key in owner.api_keys:
            if key.sid == user and key.secret == password:
                return Credential(user, owner, key)
    raise refusal(20003)


def _basic(header: str) -> tuple[str, str]:
    kind, _, encoded = header.partition(" ")
    if kind.lower() != "basic":
        raise refusal(20003)
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise refusal(20003) from error
    return user, password


def authorise(state: State, credential: Credential, account_sid: str, route: Route, path: str) -> Account:
    """Return the account that the request acts on; a parent may act on its subaccounts, not the reverse."""
    account = state.accounts.get(account_sid)
    if account is None:
        raise not_found(path)
    if credential.account.sid not in {account.sid, account.parent}:
        raise refusal(20003)
    suspended = account.status != "active" and not _is_administration(route)
    if suspended or credential.account.status != "active":
        raise refusal(20005)
    if credential.key is not None and credential.key.kind != "main" and _is_administration(route):
        raise refusal(20003)
    if credential.account.test and not route.test_credentials:
        raise refusal(20008)
    return account


def _is_administration(route: Route) -> bool:
    """Accounts and Keys are closed to Standard API keys."""
    return route.path.endswith(("Accounts", "Accounts/*", "/Keys", "/Keys/*"))
