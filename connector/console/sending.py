"""The console's form: a command is checked as a connector would check it, summed up, and written."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from connector.console.context import ConsoleContext, Json, answering, as_json, body_of
from connector.errors import InvalidRecord, Rejected
from connector.events import Record
from connector.executor.command import command_of
from connector.resources import COMMANDS
from connector.resources.commands import Command, Mistake, mistakes, parse
from connector.state import control

DEFAULT = "default"
"""The connection of a command that names none."""


class Sending:
    """Handlers of `/api/schemas`, and of what is posted to `/api/commands`."""

    def __init__(self, context: ConsoleContext) -> None:
        self._context = context

    def routes(self) -> list[web.RouteDef]:
        """What is answered."""
        return [
            web.get("/api/schemas", answering(self._schemas)),
            web.post("/api/commands", answering(self._send)),
            web.post("/api/commands/check", answering(self._check)),
        ]

    async def _schemas(self, _request: web.Request) -> Any:
        names = list(self._context.settings().connections)
        return {"commands": await asyncio.to_thread(self._context.schemas), "connections": names}

    async def _check(self, request: web.Request) -> Any:
        """What is wrong with a filled form, by field, and what it would do; nothing is written."""
        form = self._form(await body_of(request))
        return {"mistakes": [mistake._asdict() for mistake in form.mistakes()], "summary": form.summary()}

    async def _send(self, request: web.Request) -> Any:
        form = self._form(await body_of(request))
        if wrong := form.mistakes():
            found = [mistake._asdict() for mistake in wrong]
            return as_json({"error": wrong[0].sentence, "mistakes": found}, status=422)
        await self._context.publish([form.record(self._context.prefix)])
        return {"id": form.headers["id"]}

    def _form(self, body: Json) -> "Form":
        command = body.get("command")
        if not isinstance(command, str) or command not in COMMANDS:
            raise InvalidRecord(f"{command!r:.40} is no command: there are {', '.join(COMMANDS)}.")
        headers = {name: str(body[name]) for name in ("id", "connection", "expires-at") if body.get(name)}
        headers.setdefault("id", control.new_id())
        value = body.get("value")
        raw = value.encode() if isinstance(value, str) else orjson.dumps(value)
        connections = list(self._context.settings().connections)
        return Form(COMMANDS[command], raw, headers, str(body.get("key") or ""), connections)


@dataclass(frozen=True, slots=True)
class Form:
    """A command as it was filled in: its value as JSON, its headers, its key."""

    command: Command
    raw: bytes
    headers: Mapping[str, str]
    key: str
    connections: Sequence[str]

    def mistakes(self) -> list[Mistake]:
        """Why a connector would reject it; the same check as `send --dry-run` makes."""
        found = mistakes(self.command, self.raw)
        connection = self.headers.get("connection", DEFAULT)
        if connection not in self.connections:
            found.append(Mistake("connection", f"connection {connection!r:.60} is not one of this configuration"))
        return [*found, *self._header_mistakes()]

    def _header_mistakes(self) -> list[Mistake]:
        record = self.record("-")
        place: dict[str, Any] = {
            "topic": record.topic,
            "partition": 0,
            "offset": 0,
            "milliseconds": 0,
            "command": self.command.name,
        }
        read = command_of(key=record.key, value=record.value, headers=record.headers, **place)
        problem = read.problem
        try:
            _ = read.expires_at
        except Rejected as error:
            problem = problem or str(error)
        return [Mistake(problem.removeprefix("header ").partition(":")[0], problem)] if problem else []

    def summary(self) -> Json:
        """What it would do. `makes`: something new at Twilio, which costs money; `changes`: anything there."""
        try:
            operation, parameters = parse(self.command, self.raw)
        except InvalidRecord:
            return {"makes": False, "changes": False, "operation": "", "connection": "", "id": self.headers["id"]}
        return {
            "makes": not operation.may_repeat(parameters),
            "changes": operation.request(parameters).method != "GET",
            "operation": operation.name,
            "connection": self.headers.get("connection", DEFAULT),
            "id": self.headers["id"],
        }

    def record(self, prefix: str) -> Record:
        """The record that is written."""
        named = [(name, text.encode()) for name, text in self.headers.items()]
        return Record(f"{prefix}.commands.{self.command.name}", self.key.encode() or None, self.raw, named)
