"""The console's dead letters: list, content on request, replay, discard."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from operator import itemgetter
from typing import Any

from aiohttp import web

from connector.conditions import Condition
from connector.console.context import BY, ConsoleContext, Json, answering, body_of, limit_of, ordered
from connector.console.context import as_json as web_json
from connector.console.streaming import streamed
from connector.dead_letters import discard
from connector.dead_letters.reading import DeadLetter, as_json, certain_failure, content, read
from connector.dead_letters.replay import Choice, Outcome, Plan, Replayer, command_topics, planned
from connector.errors import ConnectorError, InvalidRecord
from connector.events import Position, Received
from connector.kafka.reading import records_at
from connector.resources import COMMANDS
from connector.resources.commands import Mistake, mistakes
from connector.state import control

PLACE = "/api/dead-letters/{partition:[0-9]{1,9}}/{offset:[0-9]{1,18}}"
LONGEST_NOTE = 500
GROUP = re.compile(r"[0-9a-f]{10}")


def _state(row: Json) -> str:
    """What was decided about a letter, else open."""
    verdict = row["verdict"]
    return str(verdict["decision"]) if verdict else "open"


SORTED: Mapping[str, Callable[[Json], Any]] = {
    **{name: itemgetter(name) for name in ("at", "message", "size", "topic")},
    "state": _state,
}


class DeadLetters:
    """Handlers of `/api/dead-letters`."""

    def __init__(self, context: ConsoleContext) -> None:
        self._context = context
        # Each replay ends the one before: those of this console take turns.
        self._replaying = asyncio.Lock()

    def routes(self) -> list[web.RouteDef]:
        """What is answered."""
        return [
            web.get("/api/dead-letters", answering(self._letters)),
            web.get(PLACE, answering(self._letter)),
            web.post(f"{PLACE}/check", answering(self._check)),
            web.post(f"{PLACE}/replay", answering(self._replay)),
            web.post(f"{PLACE}/discard", answering(self._discard)),
            web.post("/api/dead-letters/plan", answering(self._plan)),
            web.post("/api/dead-letters/run", answering(self._run)),
        ]

    @property
    def _command_topics(self) -> frozenset[str]:
        return command_topics(self._context.prefix)

    async def _letters(self, request: web.Request) -> Any:
        self._context.feed.look()
        topics, verdicts = self._command_topics, self._context.feed.verdicts
        found = sorted(self._context.feed.letters.items(), key=lambda item: -item[1].milliseconds)
        rows = [as_json(letter, verdicts.get(place), replayable=letter.topic in topics) for place, letter in found]
        group, state = request.query.get("group", ""), request.query.get("state", "all")
        of_group = [row for row in rows if not group or row["group"] == group]
        shown = [row for row in of_group if state in ("all", _state(row))]
        return {
            "letters": ordered(request, shown, SORTED)[: limit_of(request)],
            "total": len(shown),
            "states": {"all": len(of_group), **Counter(map(_state, of_group))},
            "groups": groups(rows),
            "live": self._context.feed.is_live,
        }

    async def _letter_record(self, request: web.Request) -> tuple[tuple[int, int], Received]:
        place = int(request.match_info["partition"]), int(request.match_info["offset"])
        where = Position(f"{self._context.prefix}.dead-letters", *place)
        found = await records_at(self._context.settings().kafka, [where])
        if where not in found:
            raise web.HTTPNotFound
        return place, found[where]

    async def _letter(self, request: web.Request) -> Any:
        place, record = await self._letter_record(request)
        found = read(record)
        shown = as_json(found, self._context.feed.verdicts.get(place), replayable=found.topic in self._command_topics)
        shown |= {"timeline": timeline_of(found), "fails": certain_failure(record, self._context.prefix)}
        return {**shown, **(content(record) if "content" in request.query else {})}

    async def _check(self, request: web.Request) -> Any:
        """What is wrong with an edited value, by field; nothing is written."""
        _, record = await self._letter_record(request)
        value = str((await body_of(request)).get("value") or "").encode()
        return {"mistakes": [mistake._asdict() for mistake in self._mistakes(record, value)]}

    def _mistakes(self, record: Received, value: bytes) -> list[Mistake]:
        command = COMMANDS.get(read(record).topic.removeprefix(f"{self._context.prefix}.commands."))
        return mistakes(command, value) if command else []

    async def _replay(self, request: web.Request) -> Any:
        _, record = await self._letter_record(request)
        body = await body_of(request)
        value = str(body["value"]).encode() if body.get("value") is not None else None
        if value is not None and (wrong := self._mistakes(record, value)):
            found = [mistake._asdict() for mistake in wrong]
            return web_json({"error": wrong[0].sentence, "mistakes": found}, status=422)
        async with self._replaying, Replayer(self._context.settings().kafka, by=BY) as replayer:
            (done,) = await replayer.replay([record], value=value, again=body.get("again") is True)
        if done.refused:
            raise InvalidRecord(done.refused)
        return {"done": True, "timeline": done.command, "message": f"Written to {done.topic}."}

    async def _discard(self, request: web.Request) -> Any:
        place, _ = await self._letter_record(request)
        note = str((await body_of(request)).get("note") or "")[:LONGEST_NOTE]
        verdict = control.Verdict(partition=place[0], offset=place[1], decision="discarded", note=note, by=BY)
        await self._context.publish([control.encode(self._context.prefix, verdict)])
        return {"done": True, "message": "Discarded. The record stays in its topic as long as that keeps it."}

    # --- a group --------------------------------------------------------------------------------------------------
    async def _planned(self, body: Json) -> Plan:
        """What is done to the open letters of a group. Raises InvalidRecord for what names none."""
        action, group = body.get("action"), body.get("group")
        if action not in ("replay", "discard") or not isinstance(group, str) or not GROUP.fullmatch(group):
            raise InvalidRecord("Name an action (replay or discard) and a group of dead letters.")
        kafka = self._context.settings().kafka
        choice = Choice(conditions=[Condition("group", group), Condition("decision", "open")])
        return await (planned(kafka, choice) if action == "replay" else discard.planned(kafka, choice))

    async def _plan(self, request: web.Request) -> Any:
        """What would be done, and nothing done."""
        plan = await self._planned(await body_of(request))
        fails = [outcome.fails for outcome in plan.chosen.values() if outcome.fails]
        return {
            "chosen": len(plan.chosen),
            "topics": Counter(outcome.topic for outcome in plan.chosen.values() if outcome.topic),
            "skipped": plan.skipped,
            "fails": {"count": len(fails), "sentence": fails[0] if fails else ""},
        }

    async def _run(self, request: web.Request) -> Any:
        """Do it: a line of progress for each portion; closing the connection stops it between two of them."""
        body = await body_of(request)
        plan = await self._planned(body)
        note = str(body.get("note") or "")[:LONGEST_NOTE]
        portions = self._replayed(plan) if body["action"] == "replay" else self._discarded(plan, note)
        return await streamed(request, _progress(portions, len(plan.chosen)))

    async def _replayed(self, plan: Plan) -> AsyncGenerator[Sequence[Outcome], None]:
        kafka = self._context.settings().kafka
        async with (
            self._replaying,
            Replayer(kafka, by=BY) as replayer,
            aclosing(replayer.replay_all(plan)) as outcomes,
        ):
            async for outcome in outcomes:
                yield [outcome]

    def _discarded(self, plan: Plan, note: str) -> AsyncGenerator[Sequence[Outcome], None]:
        kafka = self._context.settings().kafka
        return discard.discard_all(kafka, plan, note=note, by=BY, publish=self._context.publish)


async def _progress(portions: AsyncGenerator[Sequence[Outcome], None], total: int) -> AsyncGenerator[Json, None]:
    done = refused = 0
    try:
        async with aclosing(portions) as outcomes:
            async for portion in outcomes:
                refused += sum(outcome.refused is not None for outcome in portion)
                done += len(portion)
                yield {"progress": {"done": done, "total": total, "refused": refused}}
    except ConnectorError as error:
        yield {"error": str(error)}
        return
    yield {"end": {"done": done - refused, "total": total, "refused": refused}}


def timeline_of(letter: DeadLetter) -> str:
    """The timeline that a letter belongs to."""
    return letter.id or f"dead-letter/{letter.partition}/{letter.offset}"


def groups(rows: Iterable[Json]) -> list[Json]:
    """Letters with one reason in a row each, those with the most open ones first."""
    found: dict[str, Json] = {}
    for row in rows:
        group = found.setdefault(
            row["group"],
            {name: row[name] for name in ("group", "message", "class", "stage", "topic", "replayable")}
            | {"open": 0, "total": 0, "first": row["at"], "last": row["at"]},
        )
        group["open"] += row["verdict"] is None
        group["total"] += 1
        group["first"], group["last"] = min(group["first"], row["at"]), max(group["last"], row["at"])
    return sorted(found.values(), key=lambda group: (-group["open"], -group["last"]))
