"""Who may see the console, and which requests may change something.

A token comes as `Authorization: Bearer`, or as a cookie that the login form sets: signed with the token, HttpOnly,
SameSite=Strict, for half a day. Without a configured token (loopback only) the console is open to this machine's
browsers, but not to pages of others: cross-site requests and foreign host names are refused in either case.
"""

import asyncio
import base64
import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable
from importlib.resources import files
from urllib.parse import urlsplit

import orjson
from aiohttp import web

from connector.settings.section import is_loopback

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

COOKIE = "twilio-kafka"
SESSION_SECONDS = 12 * 3600
OPEN = frozenset({"/livez", "/readyz", "/metrics", "/version"})
LOGIN = "/login"
CUSTOM_HEADER = "X-Twilio-Kafka"
"""What a form or a link of another site cannot send; the console's own requests carry it."""
SAFE_METHODS = frozenset({"GET", "HEAD"})
FAILURE_SECONDS = 0.5
LARGEST_LOGIN = 4096

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: with it, browsers send `Origin: null` with the login form.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src {style}; img-src 'self'; connect-src 'self'; font-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def _login_page() -> tuple[str, str]:
    """The form and the hash of its style: nothing else is given to somebody without the token."""
    page = (files("connector.admin") / "static" / "login.html").read_text(encoding="utf-8")
    style = page.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return page, f"'sha256-{digest}'"


class Guard:
    """The middleware of the admin port. `token` None leaves the console open to this machine."""

    def __init__(self, token: str | None) -> None:
        self._token = token.encode() if token else None
        self._login, self._login_style = _login_page()
        # One wrong token at a time: guessing is slow however many connections guess.
        self._failing = asyncio.Lock()

    def replace_token(self, token: str) -> None:
        """Take this one from now on, which ends the sessions of the former one; a console that is open stays so."""
        if self._token is not None:
            self._token = token.encode()

    @property
    def needs_token(self) -> bool:
        """Whether there is a token to know."""
        return self._token is not None

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let a request through, or answer it."""
        if request.path in OPEN:
            return await handler(request)
        answer = await self._answer(request, handler)
        if not answer.prepared:
            protect(answer)
        return answer

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        problem = self._foreign(request)
        if problem is not None:
            return _refusal(403, problem)
        if request.path == LOGIN and request.method == "POST":
            return await self._log_in(request)
        bearer = self._bearer(request)
        if bearer is False:
            await self._slow_down()
        if not (bearer or self._has_session(request)):
            return self._ask_for_token(request)
        if request.method not in SAFE_METHODS and not bearer and CUSTOM_HEADER not in request.headers:
            return _refusal(403, f"A request that changes something needs the header {CUSTOM_HEADER}.")
        return await handler(request)

    # --- other sites ----------------------------------------------------------------------------------------------
    def _foreign(self, request: web.Request) -> str | None:
        """Why a request is not one of the console's own pages."""
        host = request.headers.get("Host", "")
        if self._token is None and not is_loopback(_name(host)):
            return "Without admin.token the console answers under this machine's own names only, such as localhost."
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none") and not (
            request.method == "GET" and request.path == "/" and request.headers.get("Sec-Fetch-Mode") == "navigate"
        ):
            return "Another site's page sent this."
        origin = request.headers.get("Origin")
        # What a proxy was asked for: a page of another site cannot send this header.
        names = {host.lower(), request.headers.get("X-Forwarded-Host", "").lower()}
        if origin is not None and urlsplit(origin).netloc.lower() not in names - {""}:
            return "Another site's page sent this."
        return None

    # --- tokens ---------------------------------------------------------------------------------------------------
    def _bearer(self, request: web.Request) -> bool | None:
        """Whether the Authorization header holds the token; None without such a header."""
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if self._token is None or scheme.lower() != "bearer":
            return None
        return hmac.compare_digest(given.strip().encode(errors="surrogatepass"), self._token)

    def _has_session(self, request: web.Request) -> bool:
        if self._token is None:
            return True
        expires, _, _ = request.cookies.get(COOKIE, "").partition(".")
        if not expires.isdecimal() or int(expires) < time.time():
            return False
        return hmac.compare_digest(request.cookies[COOKIE].encode(), self._session(expires).encode())

    def _session(self, expires: str) -> str:
        digest = hmac.new(self._token or b"", f"console session until {expires}".encode(), "sha256").hexdigest()
        return f"{expires}.{digest}"

    async def _log_in(self, request: web.Request) -> web.Response:
        if self._token is None or (request.content_length or 0) > LARGEST_LOGIN:
            return web.Response(status=303, headers={"Location": "/"})
        given = str((await request.post()).get("token", "")).strip()
        if not hmac.compare_digest(given.encode(errors="surrogatepass"), self._token):
            await self._slow_down()
            return self._form(failed=True)
        answer = web.Response(status=303, headers={"Location": "/"})
        is_secure = request.secure or request.headers.get("X-Forwarded-Proto") == "https"
        session = self._session(str(int(time.time()) + SESSION_SECONDS))
        answer.set_cookie(
            COOKIE, session, max_age=SESSION_SECONDS, httponly=True, samesite="Strict", secure=is_secure, path="/"
        )
        return answer

    async def log_out(self, _request: web.Request) -> web.Response:
        """Take the cookie back."""
        answer = web.Response(status=204)
        answer.del_cookie(COOKIE, path="/", httponly=True, samesite="Strict")
        return answer

    async def _slow_down(self) -> None:
        async with self._failing:
            await asyncio.sleep(FAILURE_SECONDS)

    def _ask_for_token(self, request: web.Request) -> web.Response:
        if request.path == "/":
            return self._form(failed=False)
        answer = _refusal(401, "The console needs the token of admin.token.")
        answer.headers["WWW-Authenticate"] = 'Bearer realm="twilio-kafka"'
        return answer

    def _form(self, *, failed: bool) -> web.Response:
        problem = '<p id="problem" role="alert">That is not the token.</p>' if failed else ""
        invalid = ' aria-invalid="true" aria-describedby="problem"' if failed else ""
        page = self._login.replace("<!--problem-->", problem).replace("<input ", f"<input{invalid} ")
        policy = {"Content-Security-Policy": _POLICY.format(style=self._login_style)}
        return web.Response(status=401, text=page, content_type="text/html", headers=policy)


def protect(answer: web.StreamResponse) -> None:
    """Give an answer the headers that keep other sites and injected content out."""
    answer.headers.update(_HEADERS)
    answer.headers.setdefault("Content-Security-Policy", _POLICY.format(style="'self'"))
    answer.headers.setdefault("Cache-Control", "no-store")


def _refusal(status: int, sentence: str) -> web.Response:
    return web.Response(status=status, body=orjson.dumps({"error": sentence}), content_type="application/json")


def _name(host: str) -> str:
    """The host name without its port."""
    return host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
