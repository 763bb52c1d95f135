"""The accounts that the simulator knows: credentials, subaccounts, API keys, test credentials, senders."""

from dataclasses import dataclass, field

ACCOUNT_SID = "AC00000000000000000000000000000001"
AUTH_TOKEN = "00000000000000000000000000000002"  # noqa: S105 - fictional
API_KEY = "SK00000000000000000000000000000003"
API_SECRET = "simulated-secret"  # noqa: S105 - fictional
MESSAGING_SERVICE_SID = "MG00000000000000000000000000000004"
PHONE_NUMBER = "+15550100001"
OTHER_PHONE_NUMBER = "+15550100009"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """An API key; `kind` is main, or standard (which may not touch Accounts and Keys)."""

    sid: str = API_KEY
    secret: str = API_SECRET
    kind: str = "standard"


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagingService:
    """A messaging service with its pool of senders; an empty pool refuses to send (21703)."""

    sid: str = MESSAGING_SERVICE_SID
    status_callback: str = ""
    inbound_url: str = ""
    senders: tuple[str, ...] = (PHONE_NUMBER,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account; `parent` makes it a subaccount, `test` gives it test credentials (Twilio, iam/test-credentials)."""

    sid: str = ACCOUNT_SID
    auth_token: str = AUTH_TOKEN
    secondary_auth_token: str = ""  # opens the REST API, signs nothing
    friendly_name: str = "Simulated account"
    parent: str = ""
    status: str = "active"  # active, suspended, closed
    test: bool = False
    trial: bool = False
    verified: tuple[str, ...] = ()  # numbers that a trial account may reach
    phone_numbers: tuple[str, ...] = (PHONE_NUMBER, OTHER_PHONE_NUMBER)
    caller_ids: tuple[str, ...] = ()  # numbers of others that may be shown as the caller
    services: tuple[MessagingService, ...] = field(default_factory=lambda: (MessagingService(),))
    api_keys: tuple[ApiKey, ...] = field(default_factory=lambda: (ApiKey(),))

    def service(self, sid: str) -> MessagingService | None:
        """Find a messaging service."""
        return next((service for service in self.services if service.sid == sid), None)
