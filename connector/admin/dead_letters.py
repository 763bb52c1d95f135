"""The console's dead letters: list, content on request, replay, discard."""

import asyncio
from typing import Any

from aiohttp import web

from connector import letters
from connector.admin.parts import BY, SHOWN, Parts, answering, body_of
from connector.errors import InvalidRecord
from connector.events import Position, Received
from connector.kafka import control
from connector.kafka.reading import records_at
from connector.replay import Replayer, command_topics

PLACE = "/api/dead-letters/{partition:[0-9]{1,9}}/{offset:[0-9]{1,18}}"
LONGEST_NOTE = 500


class DeadLetters:
    """Handlers of `/api/dead-letters`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        # Each replay ends the one before: those of this console take turns.
        self._replaying = asyncio.Lock()

    def routes(self) -> list[web.RouteDef]:
        """What is answered."""
        return [
            web.get("/api/dead-letters", answering(self._letters)),
            web.get(PLACE, answering(self._letter)),
            web.post(f"{PLACE}/replay", answering(self._replay)),
            web.post(f"{PLACE}/discard", answering(self._discard)),
        ]

    @property
    def _command_topics(self) -> frozenset[str]:
        return command_topics(self._parts.prefix)

    async def _letters(self, _request: web.Request) -> Any:
        self._parts.feed.look()
        topics, verdicts = self._command_topics, self._parts.feed.verdicts
        found = sorted(self._parts.feed.letters.items(), key=lambda item: -item[1].milliseconds)
        rows = [
            letters.as_json(letter, verdicts.get(place), replayable=letter.topic in topics) for place, letter in found
        ]
        return {"letters": rows[:SHOWN], "total": len(rows), "live": self._parts.feed.is_live}

    async def _letter_record(self, request: web.Request) -> tuple[tuple[int, int], Received]:
        place = int(request.match_info["partition"]), int(request.match_info["offset"])
        where = Position(f"{self._parts.prefix}.dead-letters", *place)
        found = await records_at(self._parts.settings().kafka, [where])
        if where not in found:
            raise web.HTTPNotFound
        return place, found[where]

    async def _letter(self, request: web.Request) -> Any:
        place, record = await self._letter_record(request)
        found = letters.letter(record)
        shown = letters.as_json(
            found, self._parts.feed.verdicts.get(place), replayable=found.topic in self._command_topics
        )
        return {**shown, **(letters.content(record) if "content" in request.query else {})}

    async def _replay(self, request: web.Request) -> Any:
        _, record = await self._letter_record(request)
        body = await body_of(request)
        value = str(body["value"]).encode() if body.get("value") is not None else None
        async with self._replaying, Replayer(self._parts.settings().kafka, by=BY) as replayer:
            (done,) = await replayer.replay([record], value=value, again=body.get("again") is True)
        if done.refused:
            raise InvalidRecord(done.refused)
        return {"done": True, "story": done.command, "message": f"Written to {done.topic}."}

    async def _discard(self, request: web.Request) -> Any:
        place, _ = await self._letter_record(request)
        note = str((await body_of(request)).get("note") or "")[:LONGEST_NOTE]
        verdict = control.Verdict(partition=place[0], offset=place[1], decision="discarded", note=note, by=BY)
        await self._parts.publish([control.encode(self._parts.prefix, verdict)])
        return {"done": True, "message": "Discarded. The record stays in its topic as long as that keeps it."}
