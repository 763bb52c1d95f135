"""A few seconds of what `make flood` does for minutes: whatever strangers do, honest callbacks are answered."""

import asyncio
import tracemalloc
from pathlib import Path

import pytest

from connector.receiver import port as ports
from connector.receiver.connection import Connection, Request
from connector.receiver.refusals import Refusal
from tests.callback_port import HEAD
from tests.floods import floods

ATTACKS = ("unfinished heads", "unfinished bodies", "random requests")
SHARE = 0.05
SECONDS = 1.0


@pytest.mark.timeout(240)
async def test_under_every_attack_honest_callbacks_are_answered(kafka: str, prefix: str, tmp_path: Path) -> None:
    outcomes = await floods(kafka, prefix, tmp_path, names=ATTACKS, share=SHARE, seconds=SECONDS)
    assert len(outcomes) == len(ATTACKS)
    assert {outcome.name: outcome.broken for outcome in outcomes if outcome.broken} == {}


class Caller(asyncio.Transport):
    """The other end of a connection, which sends what it is told to and reads nothing."""

    def __init__(self, port: ports.Port) -> None:
        super().__init__()
        self.connection = Connection(port)
        self.connection.connection_made(self)

    def send(self, content: bytes) -> None:
        self.connection.get_buffer(-1)[: len(content)] = content
        self.connection.buffer_updated(len(content))

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        del data

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        del high, low

    def abort(self) -> None:
        asyncio.get_running_loop().call_soon(self.connection.connection_lost, None)


@pytest.mark.parametrize(
    "begun",
    [HEAD + b"X: " + b"x" * 60_000, HEAD + b"Content-Length: 65000\r\n\r\n" + b"a" * 60_000],
    ids=["head", "body"],
)
async def test_unfinished_requests_hold_no_more_when_thousands_come_within_one_turn_of_the_loop(begun: bytes) -> None:
    refused: list[Refusal] = []

    def refuse(_request: Request | None, refusal: Refusal) -> None:
        refused.append(refusal)

    port, count = ports.Port(lambda _request: None, refuse, max_body=64 * 1024), 600
    callers = [Caller(port) for _ in range(count)]
    tracemalloc.start()
    try:
        for caller in callers:
            caller.send(begun)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Without a turn between them, no connection that has made room is gone yet.
    assert len(refused) == count - ports.MOST_HELD_BYTES // len(begun)
    assert held < ports.MOST_HELD_BYTES + count * 4096
