"""The hosts of Twilio's APIs: `verify` is verify.twilio.com. Those that the official SDK knows. Pure."""

import difflib
from typing import Literal, get_args

Product = Literal[
    "accounts",
    "bulkexports",
    "chat",
    "content",
    "conversations",
    "events",
    "flex-api",
    "frontline-api",
    "iam",
    "insights",
    "intelligence",
    "ip-messaging",
    "knowledge",
    "lookups",
    "marketplace",
    "memory",
    "messaging",
    "notify",
    "numbers",
    "oauth",
    "preview",
    "preview-iam",
    "pricing",
    "proxy",
    "routes",
    "serverless",
    "studio",
    "supersim",
    "sync",
    "taskrouter",
    "trunking",
    "trusthub",
    "verify",
    "video",
    "voice",
    "webhooks",
    "wireless",
]
Host = Literal["api", "monitor", Product]

PRODUCTS: tuple[Product, ...] = get_args(Product)
HOSTS: tuple[Host, ...] = ("api", "monitor", *PRODUCTS)


def host_name(name: str) -> str:
    """The name in lower case, as a part of a variable's name is not. Raises ValueError when no host is called so."""
    host = name.lower()
    if host in HOSTS:
        return host
    near = difflib.get_close_matches(host, HOSTS, n=1)
    remedy = f"did you mean {near[0]}?" if near else f"write one of {', '.join(HOSTS)}"
    raise ValueError(f"{name[:60]!r} is not a host of Twilio's: {remedy}")
