"""What the console shows, as JSON values without content. Pure but for the clock that is handed in."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from connector.admin import privacy
from connector.admin.feed import FLOWS, Feed
from connector.admin.ring import Step, Story
from connector.events import Received, timestamp
from connector.receiver.sightings import Explanation, Sighting
from connector.resources import CALLBACKS
from connector.settings import Row, WatchSettings, format_duration
from connector.watcher.status import Status

Json = dict[str, Any]

SHOWN = 200
ACTIVITY = 14
BUNDLES = 3
HEADERS = ("id", "ce_id", "correlation-id", "connection", "expires-at", "reply-to", "ce_type", "ce_time", "ce_watch")
BAD = frozenset({"failed", "rejected", "unknown", "expired"})
STATES = {
    "in doubt": ("in doubt", "unknown"),
    "failed": ("failed", "expired"),
    "trouble": ("in doubt", *sorted(BAD)),
    "open": ("waiting", "in flight"),
}


def rates(feed: Feed, *, now: float) -> Json:
    """For each flow the counts of every five seconds of the last five minutes, and the rate by second now."""
    second = int(now)
    return {
        flow: {
            "bars": feed.rates.bars(flow, now=second),
            "per_second": round(feed.rates.per_second(flow, now=second), 2),
        }
        for flow in FLOWS
    }


def tick(feed: Feed, *, now: datetime, problems: Sequence[str]) -> Json:
    """What changes all the time; `version` tells a page whether it has to ask again."""
    return {
        "now": timestamp(now),
        "version": feed.version,
        "live": feed.is_live,
        "skipped": feed.skipped,
        "stories": len(feed.ring),
        "problems": list(problems),
        "rates": rates(feed, now=now.timestamp()),
        "states": feed.ring.counts(now),
        "open_letters": sum(place not in feed.verdicts for place in feed.letters),
        "activity": _activity(feed),
    }


def _activity(feed: Feed) -> list[Json]:
    latest = sorted(feed.ring.recent, key=lambda line: line[1].at, reverse=True)[:ACTIVITY]
    return [{"story": story, **step_json(step)} for story, step in latest]


def step_json(step: Step) -> Json:
    """One record of a story."""
    place = {"topic": step.place.topic, "partition": step.place.partition, "offset": step.place.offset}
    return {
        "at": timestamp(step.at),
        "kind": step.kind,
        "name": step.name,
        "state": step.state,
        "detail": step.detail,
        "sid": step.sid,
        "place": place,
    }


def story_json(story: Story, now: datetime) -> Json:
    """A story in one line."""
    return {
        "id": privacy.key(story.id),
        "link": story.id,
        "command": story.command,
        "state": story.state(now),
        "sid": story.sid,
        "began": timestamp(story.began),
        "updated": timestamp(story.updated),
        "attempts": story.attempts,
        "steps": len(story.steps) + story.dropped,
        "last": story.last,
    }


def commands(feed: Feed, now: datetime, *, state: str = "", command: str = "", text: str = "") -> Json:
    """The latest commands in a state or a group of states, of a name, and with a text in id or SID."""
    wanted = STATES.get(state, (state,))
    found = [
        story
        for story in feed.ring.commands()
        if (not state or story.state(now) in wanted)
        and (not command or story.command == command)
        and (not text or text in story.id or text in story.sid)
    ]
    latest = sorted(found, key=lambda story: story.began, reverse=True)[:SHOWN]
    rows = [story_json(story, now) for story in latest]
    return {"commands": rows, "total": len(found), "states": feed.ring.counts(now)}


def story_detail(story: Story, records: Mapping[tuple[str, int, int], Received], now: datetime) -> Json:
    """A whole story; of each record what may be shown."""
    steps = []
    for step in sorted(story.steps, key=lambda step: step.at):
        record = records.get((step.place.topic, step.place.partition, step.place.offset))
        steps.append({**step_json(step), "shown": None if record is None else _shown(record, step)})
    return {**story_json(story, now), "dropped": story.dropped, "timeline": steps}


def _shown(record: Received, step: Step) -> Json:
    named = {name: (raw or b"").decode(errors="replace") for name, raw in record.headers}
    headers = {name: privacy.key(named[name]) for name in HEADERS if named.get(name)}
    try:
        value = orjson.loads(record.value or b"null")
    except orjson.JSONDecodeError:
        return {"headers": headers, "value": f"[{len(record.value or b'')} bytes]"}
    if step.kind == "result" and isinstance(value, dict) and isinstance(value.get("bundles"), list):
        more = len(value["bundles"]) - BUNDLES
        value = {**value, "bundles": value["bundles"][:BUNDLES], **({"more_bundles": more} if more > 0 else {})}
    return {"headers": headers, "value": privacy.masked(value)}


# --- watches ------------------------------------------------------------------------------------------------------
def watches(
    found: Iterable[Status], configured: Iterable[WatchSettings], *, running: Mapping[str, Any], feed: Feed
) -> list[Json]:
    """Each watch with its settings; `here`: this process polls; `failing`: why Twilio refuses, where that is known."""
    settings = {watch.name: watch for watch in configured}
    return [
        {
            **status.as_json(),
            "here": status.name in running,
            "failing": running[status.name].failing if status.name in running else None,
            "settings": _watch_settings(settings.get(status.name)),
            "answer": _answer(feed, status.name),
        }
        for status in found
    ]


def _watch_settings(watch: WatchSettings | None) -> Json:
    if watch is None:
        return {}
    return {
        "interval": format_duration(watch.interval),
        "overlap": format_duration(watch.overlap),
        "emit": watch.emit,
        "limit": watch.limit,
        "filters": {name: privacy.masked(str(value), "status") for name, value in watch.filters.items()},
    }


def _answer(feed: Feed, name: str) -> Json | None:
    answer = feed.answers.get(name)
    if answer is None:
        return None
    return {"action": answer.action, "done": answer.done, "message": answer.message, "at": timestamp(answer.at)}


# --- callbacks ----------------------------------------------------------------------------------------------------
def callbacks(feed: Feed, sightings: Iterable[Sighting], *, verdict: str = "") -> list[Json]:
    """The latest stored callbacks of all processes and the latest that this process refused."""
    seen = list(sightings)
    rows = [] if verdict == "refused" else [_stored(story, step, seen) for story, step in feed.ring.callbacks]
    if verdict != "stored":
        rows += [_refused(sighting) for sighting in seen if not sighting.is_stored]
    return sorted(rows, key=lambda row: str(row["at"]), reverse=True)[:SHOWN]


def _stored(story: str, step: Step, sightings: Sequence[Sighting]) -> Json:
    mine = (sighting for sighting in sightings if sighting.is_stored and _is_of(sighting, step))
    sighting = next(mine, None)
    return {
        **step_json(step),
        "story": story,
        "verdict": "stored",
        "number": sighting and sighting.number,
        "reason": "",
    }


def _is_of(sighting: Sighting, step: Step) -> bool:
    """Whether a callback became the record of a step: of one kind, about one SID, in one state."""
    return (
        CALLBACKS[sighting.kind].topic == step.name
        and bool(step.sid)
        and {step.sid, step.state or step.sid} <= sighting.values
    )


def _refused(sighting: Sighting) -> Json:
    return {
        "at": timestamp(sighting.at),
        "kind": "event",
        "name": sighting.kind,
        "state": str(sighting.status),
        "sid": "",
        "story": "",
        "verdict": "refused",
        "number": sighting.number,
        "reason": sighting.reason,
    }


def callback_detail(sighting: Sighting, found: Explanation, *, content: bool) -> Json:
    """Why the check ended as it did. The fields' values only with `content`, a signature never in full."""
    verdict = found.verdict
    values = dict(sighting.pairs)
    return {
        "number": sighting.number,
        "at": timestamp(sighting.at),
        "kind": sighting.kind,
        "method": sighting.method,
        "status": sighting.status,
        "stored": sighting.is_stored,
        "reason": sighting.reason,
        "advice": found.advice,
        "account": found.account if privacy.SID.fullmatch(found.account) else privacy.length(found.account),
        "knows_account": found.knows_account,
        "url": _target(sighting, content=content),
        "content_type": sighting.content_type,
        "algorithm": verdict.algorithm,
        "signature": privacy.signature(sighting.signature),
        "fields": values if content else {name: privacy.masked(value, _snake(name)) for name, value in values.items()},
        "attempts": [
            {
                "url": _target(sighting, attempt.url, content=content),
                "signed": attempt.signed if content else _signed(sighting, attempt.url),
                "secret": attempt.secret,
                "matches": attempt.matches,
            }
            for attempt in verdict.attempts
        ],
        "matching_base": found.matching_base,
        "replayable": sighting.is_stored
        and sighting.is_form
        and sighting.method == "POST"
        and sighting.body is not None,
        "content": content,
    }


def _target(sighting: Sighting, url: str | None = None, *, content: bool) -> str:
    """The URL; the fields of a GET are in its query, and are masked there."""
    whole = url or sighting.base + sighting.target
    return whole if content or sighting.method != "GET" else privacy.url(whole)


def _signed(sighting: Sighting, url: str) -> str:
    """The signed string with the values masked: URL, then each field and its value in their order."""
    fields = sorted(set(sighting.pairs)) if sighting.is_form and sighting.method == "POST" else []
    values = (f"{name}{privacy.masked(value, _snake(name))}" for name, value in fields)
    return _target(sighting, url, content=False) + "".join(values)


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


# --- settings -----------------------------------------------------------------------------------------------------
def settings(rows: Iterable[Row]) -> list[Json]:
    """Every setting in effect, masked, and where it comes from."""
    return [{"key": _number_free(row.key), "value": _plain(row.value), "origin": str(row.origin)} for row in rows]


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return _number_free(value) if isinstance(value, str) else value


def _number_free(text: str) -> str:
    return privacy.ADDRESS.sub(lambda found: privacy.address(found[0]), text)
