"""A stand-in for Twilio that ships with the connector: its REST API, its life cycles, its webhooks, its nasty parts."""

from connector.simulator.accounts import (
    ACCOUNT_SID,
    API_KEY,
    API_SECRET,
    AUTH_TOKEN,
    MESSAGING_SERVICE_SID,
    OTHER_PHONE_NUMBER,
    PHONE_NUMBER,
    Account,
    ApiKey,
    MessagingService,
)
from connector.simulator.settings import Settings
from connector.simulator.simulator import Simulator, run

__all__ = [
    "ACCOUNT_SID",
    "API_KEY",
    "API_SECRET",
    "AUTH_TOKEN",
    "MESSAGING_SERVICE_SID",
    "OTHER_PHONE_NUMBER",
    "PHONE_NUMBER",
    "Account",
    "ApiKey",
    "MessagingService",
    "Settings",
    "Simulator",
    "run",
]
