"""Control routes under `/_sim/`: JSON in, JSON out, no credentials; for tests and demos in other processes.

| route | does |
|---|---|
| GET `/_sim/` | for browsers a page that shows and steers all this; else as `/_sim` |
| GET `/_sim` | the seed, accounts, counts, what is under way |
| POST `/_sim/reset` | forget everything; `{"seed": …}` |
| GET, POST `/_sim/settings` | read; change some |
| GET, POST, DELETE `/_sim/faults` | read; set one or a list; clear all (`?kind=` those of a kind) |
| GET `/_sim/kinds` | the kinds of faults, and what they do |
| GET, DELETE `/_sim/journal` | requests (`?operation=&after=&limit=`); clear |
| GET `/_sim/journal/{number}` | one request with its answer, as long as it is among the newest 200 |
| GET `/_sim/callbacks` | deliveries with their attempts (`?kind=&sid=&last=`) |
| POST `/_sim/callbacks/{number}` | deliver a webhook once more |
| GET `/_sim/messages` | the newest messages (`?last=`), hidden ones too |
| GET, POST `/_sim/rows/{resource}` | SIDs of all rows, hidden ones too; create in bulk (see `bulk.fill`) |
| POST `/_sim/inbound` | a message arrives: `from`, `to`, `body`, `media: [{content_type, content}]`, `url` |
| POST `/_sim/status` | move a message, call, recording or transcription: `sid`, `status`, `error_code` |
| POST `/_sim/events` | deliver Event Streams events: `url`, `events`, `batch` |
| POST `/_sim/accounts` | add or replace an account |
| POST `/_sim/settle` | wait until no life cycle step and no delivery is left; `{"timeout": 10}` |
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, fields
from importlib.resources import files
from itertools import islice
from typing import Any
from urllib.parse import parse_qsl

import orjson
from aiohttp import web

from connector.simulator import bulk, events, inbound, progress
from connector.simulator.accounts import Account, ApiKey, MessagingService
from connector.simulator.faults import KINDS
from connector.simulator.state import State

SETTLE_SECONDS = 10.0
MESSAGES = 20
SHOWN_OF_MESSAGES = ("sid", "status", "direction", "from_", "to", "created", "updated", "error_code")
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}

Body = dict[str, Any]
Query = dict[str, str]
Action = Callable[[State, Any, Query, str], Any]


async def handle(state: State, request: web.BaseRequest) -> web.Response:
    """Answer a control request; 400 with `error` for what cannot be done."""
    path, _, query = request.raw_path.partition("?")
    name, _, rest = path.removeprefix("/_sim").strip("/").partition("/")
    if not name and request.method == "GET" and "text/html" in request.headers.get("Accept", ""):
        return _page(path)
    action = ACTIONS.get((request.method, name))
    if action is None:
        return _json({"error": f"no {request.method} /_sim/{name}", "routes": sorted(map(" ".join, ACTIONS))}, 404)
    try:
        # What is only read may carry no orders.
        raw = await request.content.read() if request.method == "POST" else b""
        answer = action(state, orjson.loads(raw) if raw else {}, dict(parse_qsl(query)), rest)
        return _json(await answer if isinstance(answer, Awaitable) else answer)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return _json({"error": f"{type(error).__name__}: {error}"}, 400)
    except TimeoutError:
        return _json({"error": "It has not become so in that time."}, 504)


def refusal(status: int, sentence: str) -> web.Response:
    """The answer to a request that may not be asked."""
    return _json({"error": sentence}, status)


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(value, default=str), status=status, content_type="application/json")


def _page(path: str) -> web.Response:
    if not path.endswith("/"):
        return web.Response(status=308, headers={"Location": "/_sim/"})
    page = files(__package__).joinpath("control_page.html").read_text(encoding="utf-8")
    return web.Response(text=page, content_type="text/html", headers=PAGE_HEADERS)


def _overview(state: State, _body: Body, _query: Query, _rest: str) -> Any:
    return {
        "seed": state.seed,
        "base_url": state.base_url,
        "accounts": {sid: store.counts() for sid, store in state.stores.items()},
        "requests": state.journal.total,
        "steps_planned": len(state.agenda),
        "deliveries_pending": state.deliveries.pending,
    }


def _reset(state: State, body: Body, _query: Query, _rest: str) -> Any:
    state.reset(body.get("seed"))
    return {"seed": state.seed}


def _settings(state: State, body: Body, _query: Query, _rest: str) -> Any:
    state.configure(body)
    return asdict(state.settings)


def _faults(state: State, body: Body | list[Body], _query: Query, _rest: str) -> Any:
    for fault in body if isinstance(body, list) else [body] if body else []:
        state.faults.add(**fault)
    return [asdict(fault) for fault in state.faults.rows]


def _clear_faults(state: State, _body: Body, query: Query, _rest: str) -> Any:
    state.faults.clear(query.get("kind", ""))
    return [asdict(fault) for fault in state.faults.rows]


def _kinds(_state: State, _body: Body, _query: Query, _rest: str) -> Any:
    return {name: asdict(kind) for name, kind in KINDS.items()}


def _journal(state: State, _body: Body, query: Query, number: str) -> Any:
    if number:
        return state.journal.exchange(int(number))
    return state.journal.as_json(
        operation=query.get("operation", ""), after=int(query.get("after", 0)), limit=int(query.get("limit", 0))
    )


def _clear_journal(state: State, _body: Body, _query: Query, _rest: str) -> Any:
    state.journal.clear()
    return {"total": 0}


def _callbacks(state: State, _body: Body, query: Query, _rest: str) -> Any:
    found = [
        row
        for row in state.deliveries.rows
        if query.get("kind", row.kind) == row.kind and query.get("sid", row.sid) == row.sid
    ]
    return [row.as_json() for row in found[-int(query.get("last", 0)) :]]


def _resend(state: State, _body: Body, _query: Query, number: str) -> Any:
    return state.deliveries.resend(int(number)).as_json()


def _messages(state: State, _body: Body, query: Query, _rest: str) -> Any:
    rows = state.stores[_account(state, query)].messages.rows.values()
    newest = islice(reversed(rows), int(query.get("last", MESSAGES)))
    return [{name: getattr(row, name) for name in SHOWN_OF_MESSAGES} for row in newest]


def _rows(state: State, _body: Body, query: Query, resource: str) -> Any:
    collection = getattr(state.stores[_account(state, query)], resource)
    return {"sids": list(collection.rows), "deleted": list(collection.tombstones)}


def _fill(state: State, body: Body, _query: Query, resource: str) -> Any:
    body.setdefault("account_sid", next(iter(state.accounts)))
    return {"sids": bulk.fill(state, resource, **body)}


def _inbound(state: State, body: Body, _query: Query, _rest: str) -> Any:
    media = [(item["content_type"], item.get("content", "").encode()) for item in body.pop("media", [])]
    account_sid = body.pop("account_sid", next(iter(state.accounts)))
    row = inbound.receive(state, account_sid=account_sid, from_=body.pop("from"), media=media, **body)
    return {"sid": row.sid}


def _status(state: State, body: Body, _query: Query, _rest: str) -> Any:
    progress.move(state, _account(state, body), body["sid"], body["status"], error_code=body.get("error_code"))
    return {"sid": body["sid"], "status": body["status"]}


def _events(state: State, body: Body, _query: Query, _rest: str) -> Any:
    rows = events.deliver(state, _account(state, body), body["url"], body["events"], batch=body.get("batch"))
    return {"deliveries": [row.number for row in rows]}


def _accounts(state: State, body: Body, _query: Query, _rest: str) -> Any:
    known = {item.name for item in fields(Account)}
    if unknown := sorted(set(body) - known):
        raise ValueError(f"unknown account attributes {unknown}; known are {sorted(known)}")
    nested = {"services": MessagingService, "api_keys": ApiKey}
    values = body | {name: tuple(row(**item) for item in body[name]) for name, row in nested.items() if name in body}
    frozen: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    return {"sid": state.add_account(Account(**frozen)).sid}


async def _settle(state: State, body: Body, _query: Query, _rest: str) -> Any:
    async with asyncio.timeout(float(body.get("timeout", SETTLE_SECONDS))):
        await state.settled()
    return {"settled": True}


def _account(state: State, given: dict[str, Any]) -> str:
    return str(given.get("account_sid") or next(iter(state.accounts)))


ACTIONS: dict[tuple[str, str], Action] = {
    ("GET", ""): _overview,
    ("POST", "reset"): _reset,
    ("GET", "settings"): _settings,
    ("POST", "settings"): _settings,
    ("GET", "faults"): _faults,
    ("POST", "faults"): _faults,
    ("DELETE", "faults"): _clear_faults,
    ("GET", "kinds"): _kinds,
    ("GET", "journal"): _journal,
    ("DELETE", "journal"): _clear_journal,
    ("GET", "callbacks"): _callbacks,
    ("POST", "callbacks"): _resend,
    ("GET", "messages"): _messages,
    ("GET", "rows"): _rows,
    ("POST", "rows"): _fill,
    ("POST", "inbound"): _inbound,
    ("POST", "status"): _status,
    ("POST", "events"): _events,
    ("POST", "accounts"): _accounts,
    ("POST", "settle"): _settle,
}
