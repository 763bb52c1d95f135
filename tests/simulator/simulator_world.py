"""Around the simulator: the official SDK pointed at it, a customer's webhooks, and plain HTTP."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

import aiohttp
import orjson
from aiohttp import web
from twilio.http.http_client import TwilioHttpClient
from twilio.http.response import Response
from twilio.request_validator import RequestValidator
from twilio.rest import Client
from yarl import URL

from connector.simulator import AUTH_TOKEN, Simulator
from tests.simulator.twilio_schemas import check_answer

P = ParamSpec("P")
T = TypeVar("T")


class CheckingClient:
    """Sends the SDK's requests to the simulator, and checks each answer against Twilio's OpenAPI."""

    def __init__(self, base_url: str) -> None:
        self.inner = TwilioHttpClient(timeout=10)
        self.base_url = base_url
        self.checked: list[str] = []

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Response:
        target = url if url.startswith(self.base_url) else self.base_url + "/" + url.split("/", 3)[3]
        response = self.inner.request(method, target, *args, **kwargs)
        self.checked.append(check_answer(method, target, response.status_code, response.text))
        return response


class Sdk:
    """The SDK in a thread; `run` calls something of it."""

    def __init__(self, simulator: Simulator, *, user: str = "", password: str = "", account: str = "") -> None:
        self.http = CheckingClient(simulator.url)
        account = account or simulator.account_sid
        self.client = Client(
            user or account, password or simulator.auth_token, account_sid=account, http_client=self.http
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.inner.session.close()

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.to_thread(function, *args, **kwargs)


@dataclass(slots=True)
class Received:
    """A webhook as the customer saw it."""

    method: str
    url: str
    headers: dict[str, str]
    form: dict[str, str]
    body: bytes

    def is_signed(self, token: str = AUTH_TOKEN) -> bool:
        content = self.form if self.method == "POST" and self.form else self.body.decode()
        if self.method == "GET":
            content = {}
        return bool(RequestValidator(token).validate(self.url, content, self.headers["X-Twilio-Signature"]))


@dataclass(slots=True)
class Hooks:
    """A customer's web server; `answers` are used up one by one, then it answers 204."""

    received: list[Received] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)
    url: str = ""
    release: asyncio.Event = field(default_factory=asyncio.Event)
    _runner: web.ServerRunner | None = None

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(web.Server(self._answer), shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release.set()
        assert self._runner is not None
        await self._runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        form = dict(await request.post()) if request.content_type == "application/x-www-form-urlencoded" else {}
        text = {name: str(value) for name, value in form.items()}
        headers = dict(request.headers)
        self.received.append(Received(request.method, self.url + request.raw_path, headers, text, body))
        answer = self.answers.pop(0) if self.answers else 204
        if answer == "hang":
            await self.release.wait()
            return web.Response(status=204)
        if isinstance(answer, tuple):
            return web.Response(text=answer[0], content_type=answer[1])
        return web.Response(status=answer)

    def values(self, name: str) -> list[str]:
        """Return one field of all webhooks received."""
        return [received.form[name] for received in self.received if name in received.form]


@dataclass(slots=True)
class Answer:
    """An answer to a plain request."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def code(self) -> int:
        return int(self.json["code"])


async def ask(
    simulator: Simulator,
    method: str,
    path: str,
    *,
    user: str = "",
    password: str = "",
    **options: Any,
) -> Answer:
    """Send one request; a path without a leading slash is relative to the account."""
    account = f"/2010-04-01/Accounts/{simulator.account_sid}/"
    url = simulator.url + (path if path.startswith("/") else account + path)
    basic = aiohttp.encode_basic_auth(user or simulator.account_sid, password or simulator.auth_token)
    headers = {"Authorization": basic} | options.pop("headers", {})
    async with aiohttp.ClientSession() as session:
        request = session.request(method, URL(url, encoded=True), headers=headers, **options)
        async with request as response:
            return Answer(response.status, dict(response.headers), await response.read())


async def send(simulator: Simulator, **fields: str) -> Answer:
    """Send a message with usable defaults."""
    form = {"To": "+15550100002", "From": "+15550100001", "Body": "hello"} | fields
    return await ask(simulator, "POST", "Messages.json", data=form)


async def dial(simulator: Simulator, **fields: Any) -> Answer:
    """Place a call with usable defaults; a list is a repeated key."""
    form = {"To": "+15550100002", "From": "+15550100001", "Twiml": "<Response/>"} | fields
    pairs = [(k, v) for k, values in form.items() for v in (values if isinstance(values, list) else [values])]
    return await ask(simulator, "POST", "Calls.json", data=pairs)


async def walk(simulator: Simulator, path: str) -> list[list[str]]:
    """Follow the next links to the end; returns the SIDs page by page."""
    pages: list[list[str]] = []
    following: str | None = path
    while following:
        page = (await ask(simulator, "GET", following)).json
        key = page["meta"]["key"] if "meta" in page else next(k for k, v in page.items() if isinstance(v, list))
        pages.append([row["sid"] for row in page[key]])
        link = page["meta"]["next_page_url"] if "meta" in page else page["next_page_uri"]
        following = link.removeprefix(simulator.url) if link else None
    return pages
