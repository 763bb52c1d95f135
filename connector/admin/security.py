"""Who may see the console, and which requests may change something.

A token comes as `Authorization: Bearer`, or through the login form, which gives a cookie: the secret of a session,
HttpOnly, SameSite=Strict, for half a day or until signing out. Without a configured token (loopback only) the console
is open to this machine's browsers, but not to pages of others: cross-site requests and foreign host names are refused
in either case.
"""

import base64
import hashlib
from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from importlib.resources import files
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

import orjson
from aiohttp import web

from connector.admin.port import Refused, note, read_body
from connector.admin.sign_in import SESSION_SECONDS, Busy, Gate, Sessions
from connector.settings.section import is_loopback

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

COOKIE = "twilio-kafka"
SECURE_COOKIE = f"__Host-{COOKIE}"
"""Where TLS is in front: a browser takes it from this host over TLS only, and no neighbouring host can plant one."""
OPEN = frozenset({"/livez", "/readyz", "/metrics", "/version"})
LOGIN = "/login"
CUSTOM_HEADER = "X-Twilio-Kafka"
"""What a form or a link of another site cannot send; the console's own requests carry it."""
SAFE_METHODS = frozenset({"GET", "HEAD"})
LARGEST_LOGIN = 4096
FORM = "application/x-www-form-urlencoded"
RETRY_SECONDS = 5

FOREIGN_NAME = "Without admin.token the console answers under this machine's own names only, such as localhost."
FOREIGN_SITE = "Another site's page sent this."
NOT_OWN = f"A request that changes something needs the header {CUSTOM_HEADER}."
SIGN_IN = "The console needs the token of admin.token."
WRONG = "That is not the token of admin.token."
BUSY = "Too many sign-ins wait already: try again in a few seconds."
NO_FORM = f"Send the token as a field named token of one {FORM} form in UTF-8."

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
    """The sign-in form and the hash of its style: all that a visitor without the token gets."""
    page = (files("connector.admin") / "static" / "login.html").read_text(encoding="utf-8")
    style = page.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return page, f"'sha256-{digest}'"


class Admission(NamedTuple):
    """Of a request that was let in: whether it still would be. A stream asks it again and again."""

    holds: Callable[[], bool]


ADMISSION = web.RequestKey("ADMISSION", Admission)


class Guard:
    """The middleware of the admin port. `token` None leaves the console open to this machine."""

    def __init__(self, token: str | None) -> None:
        self._gate = Gate(token) if token else None
        self._sessions = Sessions()
        self._login, self._login_style = _login_page()

    def routes(self) -> list[web.RouteDef]:
        """Signing in and out."""
        return [web.post(LOGIN, self._sign_in), web.post("/", self._sign_in), web.post("/logout", self._sign_out)]

    def replace_token(self, token: str) -> None:
        """Take this one from now on, which ends the sessions of the former one; a console that is open stays so."""
        if self._gate is not None and not self._gate.is_for(token):
            self._gate, self._sessions = Gate(token), Sessions()

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let a request through, its body read; or answer it."""
        if _route(request) in OPEN:
            return await handler(request)
        try:
            await self._admit(request)
            answer = await handler(request)
        except Refused as refused:
            note(refused.status, refused.sentence, quietly=refused.sentence == SIGN_IN)
            answer = self._answer(request, refused)
        except web.HTTPException as error:
            note(error.status, error.reason, quietly=True)
            answer = _refusal(Refused(error.status, error.reason), error.headers.get("Allow"))
        if not answer.prepared:
            protect(answer)
        return answer

    async def _admit(self, request: web.Request) -> None:
        """Return when the request may go on. Raises Refused with 400, 401, 403 or 429."""
        self._check_site(request)
        if _is_sign_in(request):
            return
        is_own = request.method in SAFE_METHODS or CUSTOM_HEADER in request.headers
        bearer = _bearer(request)
        gate, carried = self._gate, _carried(request)
        has_session = gate is None or self._has_session(carried)
        if has_session and is_own:
            request[ADMISSION] = Admission(lambda: gate is None or self._has_session(carried))
        elif bearer is not None and gate is not None:
            await self._try(gate, bearer)
            request[ADMISSION] = Admission(lambda: self._gate is gate)
        else:
            raise Refused(403, NOT_OWN) if has_session else Refused(401, SIGN_IN)

    def _has_session(self, carried: Iterable[tuple[str, str]]) -> bool:
        return any(self._sessions.has(cookie, secret) for cookie, secret in carried)

    def _check_site(self, request: web.Request) -> None:
        """Return for a request of the console's own pages, or of no page."""
        host = request.headers.get("Host", "")
        if self._gate is None and not is_loopback(_name(host)):
            raise Refused(403, FOREIGN_NAME)
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none") and not (
            request.method == "GET" and request.path == "/" and request.headers.get("Sec-Fetch-Mode") == "navigate"
        ):
            raise Refused(403, FOREIGN_SITE)
        origin = request.headers.get("Origin")
        # What a proxy was asked for: a page of another site cannot send this header.
        names = {host.lower(), request.headers.get("X-Forwarded-Host", "").lower()}
        if origin is not None and _authority(origin) not in names - {""}:
            raise Refused(403, FOREIGN_SITE)

    # --- signing in and out ---------------------------------------------------------------------------------------
    async def _try(self, gate: Gate, token: str) -> None:
        """Return for the right token. Raises Refused."""
        try:
            is_right = await gate.admits(token)
        except Busy:
            raise Refused(HTTPStatus.TOO_MANY_REQUESTS, BUSY) from None
        if not is_right:
            raise Refused(HTTPStatus.UNAUTHORIZED, WRONG)

    async def _sign_in(self, request: web.Request) -> web.StreamResponse:
        """A session for the right token."""
        answer = web.Response(status=303, headers={"Location": "/"})
        if self._gate is None:
            return answer
        _check_form(request)
        await self._try(self._gate, _token_of(await read_body(request, most=LARGEST_LOGIN)))
        is_secure = _is_over_tls(request)
        cookie = SECURE_COOKIE if is_secure else COOKIE
        secret = self._sessions.begin(cookie)
        answer.set_cookie(
            cookie, secret, max_age=SESSION_SECONDS, httponly=True, samesite="Strict", secure=is_secure, path="/"
        )
        return answer

    async def _sign_out(self, request: web.Request) -> web.StreamResponse:
        """End the session, and take its cookie back."""
        answer = web.Response(status=204)
        for cookie, secret in _carried(request):
            self._sessions.end(cookie, secret)
            answer.del_cookie(cookie, path="/", httponly=True, samesite="Strict", secure=cookie == SECURE_COOKIE)
        return answer

    # --- answers --------------------------------------------------------------------------------------------------
    def _answer(self, request: web.Request, refused: Refused) -> web.Response:
        asks = refused.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS) and (
            request.path == "/" or _is_sign_in(request)
        )
        answer = self._form(request, refused) if asks else _refusal(refused)
        if refused.status == HTTPStatus.UNAUTHORIZED:
            answer.headers["WWW-Authenticate"] = 'Bearer realm="twilio-kafka"'
        if refused.status == HTTPStatus.TOO_MANY_REQUESTS:
            answer.headers["Retry-After"] = str(RETRY_SECONDS)
        return answer

    def _form(self, request: web.Request, refused: Refused) -> web.Response:
        failed = _is_sign_in(request) or refused.sentence != SIGN_IN
        sentence = BUSY if refused.status == HTTPStatus.TOO_MANY_REQUESTS else "That is not the token."
        problem = f'<p id="problem" role="alert">{sentence}</p>' if failed else ""
        invalid = ' aria-invalid="true" aria-describedby="problem"' if failed else ""
        page = self._login.replace("<!--problem-->", problem).replace("<input ", f"<input{invalid} ")
        policy = {"Content-Security-Policy": _POLICY.format(style=self._login_style)}
        return web.Response(status=refused.status, text=page, content_type="text/html", headers=policy)


def still_admitted(request: web.Request) -> bool:
    """Whether a request that was let in still would be: its session has not ended, its token is the present one."""
    return ADMISSION not in request or request[ADMISSION].holds()


def _is_sign_in(request: web.Request) -> bool:
    """Whether it is the login form: it is sent to the address that was opened, which keeps the page in it."""
    return _route(request) == LOGIN or (request.method == "POST" and request.path == "/")


def _route(request: web.Request) -> str:
    """The pattern of the route that answers, empty where none does."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else ""


def _bearer(request: web.Request) -> str | None:
    """The token of the Authorization header."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" else None


def _carried(request: web.Request) -> list[tuple[str, str]]:
    """The cookies that may hold a session's secret."""
    return [(name, request.cookies[name]) for name in (SECURE_COOKIE, COOKIE) if name in request.cookies]


def _is_over_tls(request: web.Request) -> bool:
    """Whether the browser speaks TLS, with us or with a proxy in front; its Origin header says so, too."""
    is_forwarded = request.headers.get("X-Forwarded-Proto", "").lower() == "https"
    return request.secure or is_forwarded or request.headers.get("Origin", "").startswith("https://")


def _check_form(request: web.Request) -> None:
    """Raises Refused for a login that is no small form."""
    kind, _, parameters = request.headers.get("Content-Type", "").partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if kind.strip().lower() != FORM or charset not in ("", "utf-8"):
        raise Refused(400, NO_FORM)


def _token_of(body: bytes) -> str:
    """The token of a login form. Raises Refused."""
    try:
        fields = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=10)
    except ValueError:
        raise Refused(400, NO_FORM) from None
    tokens = [value for name, value in fields if name == "token"]
    if len(tokens) != 1:
        raise Refused(400, NO_FORM)
    return tokens[0].strip()


def _authority(origin: str) -> str | None:
    """Host and port of an Origin header, None for what is none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def protect(answer: web.StreamResponse) -> None:
    """Give an answer the headers that keep other sites and injected content out."""
    answer.headers.update(_HEADERS)
    answer.headers.setdefault("Content-Security-Policy", _POLICY.format(style="'self'"))
    answer.headers.setdefault("Cache-Control", "no-store")


def _refusal(refused: Refused, allow: str | None = None) -> web.Response:
    headers = {"Allow": allow} if allow else None
    body = orjson.dumps({"error": refused.sentence})
    return web.Response(status=refused.status, body=body, headers=headers, content_type="application/json")


def _name(host: str) -> str:
    """The host name without its port."""
    return host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
