"""What pages of other sites may not ask, though they run in the browser of the simulator's user.

The control routes need no credentials and make the simulator call any URL, and the credentials of its API are known. So
a browser is answered only when its page came from here under a name of this machine or network, and a control request
carries JSON, which no form of another site can send.
"""

import socket
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import web

# Names that public DNS gives to no machine (RFC 6761, RFC 8375, Kubernetes).
PRIVATE = (".localhost", ".local", ".internal", ".test", ".home.arpa", ".svc", ".svc.cluster.local")
JSON = "application/json"


def refused(request: web.BaseRequest, *, control: bool) -> tuple[int, str] | None:
    """Status and sentence for a request that is not answered; None for one that is."""
    host = request.headers.get("Host", "")
    asks_browser = "Origin" in request.headers or "Sec-Fetch-Site" in request.headers
    if (control or asks_browser) and not _is_private(host):
        return 403, f"{host!r:.80} is not a name of this machine: use localhost, or the address that it listens on."
    if _is_of_another_site(request, host):
        return 403, "A page of another site sent this."
    if control and request.method == "POST" and request.content_type != JSON:
        return 415, f"Send {JSON}, as curl does with --json."
    return None


def _is_private(host: str) -> bool:
    """Whether a Host header names this machine, an address, or a name that only this network knows."""
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return False
    try:
        return bool(ip_address(name))
    except ValueError:
        return bool(name) and ("." not in name or name.endswith(PRIVATE) or name == socket.gethostname().lower())


def _is_of_another_site(request: web.BaseRequest, host: str) -> bool:
    origin = request.headers.get("Origin")
    if origin is not None:
        return origin.partition("://")[2].lower() != host.lower()
    comes_from = request.headers.get("Sec-Fetch-Site", "none")
    opens_page = request.method == "GET" and request.headers.get("Sec-Fetch-Mode") == "navigate"
    return comes_from not in ("none", "same-origin") and not opens_page
