"""Mutated requests: none ends in an exception, is read as two, or is stored without a signature that covers it."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from random import Random
from urllib.parse import parse_qsl

import h11
import pytest
from multidict import MultiDict
from twilio.request_validator import RequestValidator

from connector.receiver.connection import SIGNATURE_HEADER, Request
from tests.callback_port import PUBLIC, TOKEN, Port, opened
from tests.mutation import mutated

COUNT = int(os.environ.get("PORT_EXAMPLES", "2000"))
SEED = int(os.environ.get("PORT_SEED", "1"))
AT_ONCE = 20
STATUSES = {204, 400, 403, 404, 405, 413, 414, 415, 431}
VALIDATOR = RequestValidator(TOKEN)


@dataclass(frozen=True)
class Read:
    """A request as one of the two parsers read it."""

    method: str
    target: str
    body: bytes


def read_by_h11(raw: bytes) -> tuple[list[Read], bool]:
    """The whole requests, and whether the rest is refused."""
    reader = h11.Connection(h11.SERVER, max_incomplete_event_size=1_000_000)
    found: list[Read] = []
    method, target, body = "", "", b""
    try:
        reader.receive_data(raw)
        reader.receive_data(b"")
        while True:
            event = reader.next_event()
            if isinstance(event, h11.Request):
                method, target, body = event.method.decode(), event.target.decode("latin-1"), b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                found.append(Read(method, target, body))
                reader.send(h11.Response(status_code=204, headers=[]))
                reader.send(h11.EndOfMessage())
                if reader.our_state is not h11.DONE or reader.their_state is not h11.DONE:
                    return found, False
                reader.start_next_cycle()
            else:
                return found, False
    except h11.RemoteProtocolError:
        return found, True


class Recorder:
    """What the port has read, connection by connection, and what was signed of it."""

    def __init__(self, port: Port) -> None:
        self.port = port
        self.read: list[Read] = []
        self.requests: list[Request] = []
        inner = port.server._port.handle

        def handle(request: Request) -> None:
            self.read.append(Read(request.method, request.target, bytes(request.body)))
            self.requests.append(request)
            inner(request)

        port.server._port.handle = handle


def is_signed(request: Request) -> bool:
    """What the official SDK says; it raises TypeError for a body whose hash is not in the URL."""
    signature = request.headers.get(SIGNATURE_HEADER, "")
    fields = MultiDict(parse_qsl(bytes(request.body).decode(errors="replace"), keep_blank_values=True))
    is_form = "/events" not in request.target and request.method == "POST"
    body = fields if is_form else bytes(request.body).decode(errors="replace") if request.method == "POST" else {}
    try:
        return bool(VALIDATOR.validate(PUBLIC + request.target, body, signature))
    except TypeError:
        return False


@pytest.fixture
async def recorder() -> AsyncIterator[Recorder]:
    async with opened() as port:
        yield Recorder(port)


@pytest.mark.timeout(3600)
async def test_no_mutated_request_is_misread(recorder: Recorder) -> None:
    random, counts = Random(SEED), Counter[str]()  # noqa: S311 - repeatable
    for _ in range(COUNT):
        raw = mutated(random)
        recorder.read.clear()
        recorder.requests.clear()
        stored = len(recorder.port.kafka.records)
        answers = [int(part[:3]) for part in (await recorder.port.raw(raw, ends=True)).split(b"HTTP/1.1 ")[1:]]
        final = [status for status in answers if status != 100]
        theirs, refused = read_by_h11(raw)
        ours = recorder.read
        # Whoever reads more than the other must not have read the same bytes in another way.
        assert ours[: len(theirs)] == theirs[: len(ours)], raw
        assert len(ours) <= len(theirs) or refused, raw
        assert len(final) - len(ours) in (0, 1), raw
        assert set(final) <= STATUSES, raw
        records = recorder.port.kafka.records[stored:]
        kept = [record for record in records if record.topic != "twilio.dead-letters"]
        assert len(kept) == final.count(204), raw
        assert len(records) <= sum(map(is_signed, recorder.requests)), raw
        recorder.port.kafka.records.clear()
        counts.update(map(str, final))
        counts["requests read"] += len(ours)
        counts["read by us, refused by h11"] += max(0, len(ours) - len(theirs))
        counts["read by h11, refused by us"] += max(0, len(theirs) - len(ours))
    print(f"seed {SEED}, {COUNT} mutated requests: {dict(sorted(counts.items()))}")  # noqa: T201 - of a long run
    assert counts["204"] > COUNT / 100


async def test_mutated_requests_at_once_are_all_answered_and_harm_none(recorder: Recorder) -> None:
    async def call(seed: int) -> None:
        random = Random(f"{SEED} {seed}")  # noqa: S311 - repeatable
        for _ in range(COUNT // AT_ONCE // 4):
            raw = mutated(random)
            size = random.choice((1, 17, 200, 5000)) if len(raw) < 2000 else 5000
            await recorder.port.raw(*(raw[at : at + size] for at in range(0, len(raw), size)), ends=True)

    await asyncio.gather(*(call(number) for number in range(AT_ONCE)))
    assert (await recorder.port.form())[0] == 204
