"""The console's callbacks: what was delivered, why a check failed, and delivering once more."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from aiohttp import web

from connector import privacy
from connector.console.commands import entry_json, shown
from connector.console.context import ConsoleContext, Json, answering, limit_of, ordered
from connector.console.feed import Feed
from connector.errors import InvalidRecord
from connector.events import Position, timestamp
from connector.kafka.reading import records_at
from connector.receiver.receiver import Receiver
from connector.receiver.recent import Explanation, RecentRequest
from connector.resources import CALLBACKS
from connector.timeline.model import Entry
from connector.twilio.delivery import deliver
from connector.twilio.wire import SUCCESS


def _text(row: Json, name: str) -> str:
    return str(row.get(name) or "")


SORTED: Mapping[str, Callable[[Json], Any]] = {
    name: partial(_text, name=name) for name in ("at", "detail", "name", "sid", "state", "verdict")
}


class Callbacks:
    """Handlers of `/api/callbacks`."""

    def __init__(self, context: ConsoleContext) -> None:
        self._context = context

    def routes(self) -> list[web.RouteDef]:
        """What is answered."""
        return [
            web.get("/api/callbacks", answering(self._callbacks)),
            web.get("/api/callbacks/{number:[0-9]{1,18}}", answering(self._callback)),
            web.post("/api/callbacks/{number:[0-9]{1,18}}/replay", answering(self._replay)),
            web.get("/api/callbacks/{topic}/{partition:[0-9]{1,9}}/{offset:[0-9]{1,18}}", answering(self._at)),
        ]

    async def _callbacks(self, request: web.Request) -> Any:
        self._context.feed.look()
        receiver = self._context.receiver
        requests = receiver.recent if receiver is not None else ()
        rows = callbacks(self._context.feed, requests, verdict=request.query.get("verdict", ""))
        rows, total = ordered(request, rows, SORTED)[: limit_of(request)], len(rows)
        return {"callbacks": rows, "total": total, "receives": receiver is not None, "live": self._context.feed.is_live}

    def _recent(self, request: web.Request) -> tuple[Receiver, RecentRequest]:
        receiver = self._context.receiver
        found = receiver.recent.find(int(request.match_info["number"])) if receiver is not None else None
        if receiver is None or found is None:
            raise web.HTTPNotFound
        return receiver, found

    async def _at(self, request: web.Request) -> Any:
        """A stored callback by the position of its record, and the number of its request if that is remembered here."""
        self._context.feed.look()
        found = request.match_info
        position = Position(found["topic"], int(found["partition"]), int(found["offset"]))
        if not self._context.feed.is_callback(position.topic):
            raise web.HTTPNotFound
        records = await records_at(self._context.settings().kafka, [position])
        if position not in records:
            raise web.HTTPNotFound
        entry = self._context.feed.entry(records[position])
        receiver = self._context.receiver
        requests = list(receiver.recent) if receiver is not None else []
        return {**_stored(entry, requests), "shown": shown(records[position], entry)}

    async def _callback(self, request: web.Request) -> Any:
        receiver, recent = self._recent(request)
        if request.query.get("at") not in (None, "", timestamp(recent.at)):
            # Numbers begin anew with each start: this one is another callback.
            raise web.HTTPNotFound
        return callback_detail(recent, receiver.explain(recent), content="content" in request.query)

    async def _replay(self, request: web.Request) -> Any:
        """Deliver a stored callback once more, through the public address; consumers see the same event id."""
        _, recent = self._recent(request)
        if not _is_replayable(recent):
            raise InvalidRecord("Only a callback that was stored can be delivered again: what is forged stays out.")
        token = self._token_of(dict(recent.pairs).get("AccountSid", ""))
        headers = {"I-Twilio-Idempotency-Token": recent.token} if recent.token else {}
        url = recent.base + recent.target
        answer = await deliver(self._context.session, url, recent.pairs, token=token, headers=headers)
        sentence = f"{url.partition('?')[0]} answered {answer.status}." if answer.status else answer.text
        return {"done": answer.status in SUCCESS, "message": sentence}

    def _token_of(self, account: str) -> str:
        for connection in self._context.settings().connections.values():
            if connection.account_sid == account and connection.signing_tokens:
                return connection.signing_tokens[0].get_secret_value()
        raise InvalidRecord("The account's connection has no auth token to sign with any more.")


def callbacks(feed: Feed, requests: Iterable[RecentRequest], *, verdict: str = "") -> list[Json]:
    """The latest stored callbacks of all processes and the latest that this process refused."""
    seen = list(requests)
    rows = [] if verdict == "refused" else [_stored(entry, seen) for entry in feed.timelines.callbacks]
    if verdict != "stored":
        rows += [_refused(recent) for recent in seen if not recent.is_stored]
    return sorted(rows, key=lambda row: str(row["at"]), reverse=True)


def _stored(entry: Entry, requests: Sequence[RecentRequest]) -> Json:
    mine = (recent for recent in requests if recent.is_stored and _is_of(recent, entry))
    recent = next(mine, None)
    return {
        **entry_json(entry),
        "timeline": entry.timeline,
        "verdict": "stored",
        "number": recent and recent.number,
        "reason": "",
    }


def _is_of(recent: RecentRequest, entry: Entry) -> bool:
    """Whether a callback became the record of an entry: of one kind, about one SID, in one state."""
    return (
        CALLBACKS[recent.kind].topic == entry.name
        and bool(entry.sid)
        and {entry.sid, entry.state or entry.sid} <= recent.values
    )


def _refused(recent: RecentRequest) -> Json:
    return {
        "at": timestamp(recent.at),
        "kind": "event",
        "name": recent.kind,
        "state": str(recent.status),
        "sid": "",
        "timeline": "",
        "verdict": "refused",
        "number": recent.number,
        "reason": recent.reason,
    }


def callback_detail(recent: RecentRequest, found: Explanation, *, content: bool) -> Json:
    """Why the check ended as it did. The fields' values only with `content`, a signature never in full."""
    verdict = found.verdict
    values = dict(recent.pairs)
    return {
        "number": recent.number,
        "at": timestamp(recent.at),
        "kind": recent.kind,
        "method": recent.method,
        "status": recent.status,
        "stored": recent.is_stored,
        "reason": recent.reason,
        "advice": found.advice,
        "account": found.account if privacy.SID.fullmatch(found.account) else privacy.length(found.account),
        "knows_account": found.knows_account,
        "url": _target(recent, content=content),
        "content_type": recent.content_type,
        "algorithm": verdict.algorithm,
        "signature": privacy.signature(recent.signature),
        "fields": values if content else {name: privacy.masked(value, _snake(name)) for name, value in values.items()},
        "attempts": [
            {
                "url": _target(recent, attempt.url, content=content),
                "signed": attempt.signed if content else _signed(recent, attempt.url),
                "secret": attempt.secret,
                "matches": attempt.matches,
            }
            for attempt in verdict.attempts
        ],
        "matching_base": found.matching_base,
        "replayable": recent.is_stored and recent.is_form and recent.method == "POST" and recent.body is not None,
        "content": content,
    }


def _is_replayable(recent: RecentRequest) -> bool:
    """Whether it was stored, and there is a form of it to send again."""
    return recent.is_stored and recent.is_form and recent.method == "POST" and recent.body is not None


def _target(recent: RecentRequest, url: str | None = None, *, content: bool) -> str:
    """The URL; the fields of a GET are in its query, and are masked there."""
    whole = url or recent.base + recent.target
    return whole if content or recent.method != "GET" else privacy.url(whole)


def _signed(recent: RecentRequest, url: str) -> str:
    """The signed string with the values masked: URL, then each field and its value in their order."""
    fields = sorted(set(recent.pairs)) if recent.is_form and recent.method == "POST" else []
    values = (f"{name}{privacy.masked(value, _snake(name))}" for name, value in fields)
    return _target(recent, url, content=False) + "".join(values)


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
