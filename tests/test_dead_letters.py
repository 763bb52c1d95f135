"""Dead letters on the command line: chosen, shown without their content, and replayed exactly once."""

import asyncio
import contextlib
import json
import os
import pty
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, ConsumerRecord
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner, Result

from connector.cli import app
from connector.conditions import LETTER_FIELDS
from connector.dead_letters.reading import Decisions, fields
from connector.dead_letters.record import dead_letter
from connector.errors import Rejected
from connector.events import Record
from connector.simulator import OTHER_PHONE_NUMBER, PHONE_NUMBER, Simulator
from connector.state import control
from connector.telemetry import logs
from tests.forked import completed
from tests.running import (
    Connector,
    clean_environment,
    configuration,
    headers_of,
    read_all,
    running,
    until,
    values,
    wait_for_records,
)

BODY = "a body that nobody is to see"
UNKNOWN = "Connection other is unknown."
LAUNCHER = "tests.guarantees.without"


def message(**more: Any) -> dict[str, Any]:
    return {"to": OTHER_PHONE_NUMBER, "from": PHONE_NUMBER, "body": BODY, **more}


@pytest.fixture(autouse=True)
def _log_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """`list` runs in this process: whose log is not to end in a stream that is closed after this test."""
    monkeypatch.setattr(logs, "configure_logging", lambda **_: None)


@dataclass(frozen=True)
class Said:
    """What a command said; `rows` are its lines of JSON."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass
class Desk:
    """Topics, and the command line with its configuration; no connector runs."""

    process: Connector
    kafka: str
    prefix: str
    producer: AIOKafkaProducer

    @property
    def topic(self) -> str:
        return f"{self.prefix}.commands.send-message"

    async def start(self, *arguments: str, module: str = "connector", **env: str) -> asyncio.subprocess.Process:
        self.process.settings  # noqa: B018 - writes the file
        command = ["-m", module, "dead-letters", *arguments, "-c", str(self.process.folder / "connector.yaml")]
        nothing, pipe = asyncio.subprocess.DEVNULL, asyncio.subprocess.PIPE
        env = {**clean_environment(), **env}
        return await asyncio.create_subprocess_exec(
            sys.executable, *command, stdin=nothing, stdout=pipe, stderr=pipe, env=env
        )

    async def say(self, *arguments: str) -> Said:
        file = str(self.process._file())
        done = await asyncio.to_thread(completed, "dead-letters", *arguments, "-c", file, env=clean_environment())
        assert "Traceback" not in done.stderr, done.stderr
        return Said(done.returncode, done.stdout, done.stderr)

    async def invoke(self, *arguments: str) -> Result:
        """The same in this process: a command of its own takes a second."""
        self.process.settings  # noqa: B018 - writes the file
        file = str(self.process.folder / "connector.yaml")
        return await asyncio.to_thread(lambda: CliRunner().invoke(app, ["dead-letters", *arguments, "-c", file]))

    async def listed(self, *options: str) -> list[dict[str, Any]]:
        """What `list` says."""
        said = await self.invoke("list", "--format", "json", *options)
        assert said.exit_code == 0, said.output
        found: list[dict[str, Any]] = json.loads(said.stdout)
        return found

    async def put(self, *records: Record, at: datetime | None = None) -> None:
        milliseconds = None if at is None else int(at.timestamp() * 1000)
        for record in records:
            await self.producer.send_and_wait(
                record.topic, record.value, key=record.key, headers=record.headers, timestamp_ms=milliseconds
            )

    def letter(self, name: str, *, reason: str = UNKNOWN, key: str = "k", **headers: str) -> Record:
        """The dead letter of a command with this id."""
        return dead_letter(
            self.prefix,
            key=key.encode(),
            value=json.dumps(message()).encode(),
            headers=[("id", name.encode()), *((header, text.encode()) for header, text in headers.items())],
            error=Rejected(reason),
            stage="command",
            topic=self.topic,
            partition=0,
            offset=7,
        )

    def row(self) -> Record:
        """The dead letter of a row of Twilio's."""
        error = "Twilio's message does not fit its bundle."
        return dead_letter(self.prefix, key=b"SM1", value=b"{}", headers=[], error=error, stage="watch")

    async def place(self, name: str) -> str:
        (found,) = await self.listed("--where", f"id={name}")
        return f"{found['partition']}/{found['offset']}"

    async def replayed(self) -> list[ConsumerRecord]:
        return await read_all(self.kafka, self.topic)


@pytest.fixture
async def desk(kafka: str, prefix: str, simulator: Simulator, tmp_path: Path) -> AsyncIterator[Desk]:
    process = Connector(configuration(simulator, kafka=kafka, prefix=prefix), tmp_path)
    await process.apply_topics()
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    await producer.start()
    yield Desk(process, kafka, prefix, producer)
    await producer.stop()


# --- list and show ----------------------------------------------------------------------------------------------------
async def test_letters_are_chosen_by_field_by_time_and_by_what_was_decided(desk: Desk) -> None:
    old = datetime.now(UTC) - timedelta(hours=3)
    await desk.put(desk.letter("old", key="+15557654321"), at=old)
    await desk.put(desk.letter("typo", reason="boddy is unknown.", connection="second"), desk.row())
    discarded = desk.letter("dropped", key="k-2")
    await desk.put(discarded)
    choice = ("discard", "--where", "id=dropped", "--note", "a test")
    assert "1 would be discarded. Nothing was written." in (await desk.invoke(*choice, "--dry-run")).stdout
    assert (await desk.invoke(*choice)).exit_code == 2
    said = await desk.invoke(*choice, "--yes")
    assert (said.exit_code, said.stdout.splitlines()[-1]) == (0, "Discarded 1 of 1.")
    assert "There is nothing to discard." in (await desk.invoke(*choice, "--yes")).stdout
    named = await desk.invoke("discard", await desk.place("dropped"), "--note", "again", "--yes")
    assert (named.exit_code, "It was discarded already" in named.stderr) == (1, True)

    for options, wanted in (
        ([], ["old", "typo", "", "dropped"]),
        (["--where", "topic=commands.send-message"], ["old", "typo", "dropped"]),
        (["--where", "stage=watch"], [""]),
        (["--where", "class=Rejected", "--where", "message=*boddy*"], ["typo"]),
        (["--where", "key=*7654321"], ["old"]),
        (["--where", "connection=second"], ["typo"]),
        (["--where", "decision=discarded"], ["dropped"]),
        (["--where", f"group={(await desk.listed('--where', 'id=typo'))[0]['group']}"], ["typo"]),
        (["--where", "decision=open", "--where", "id=*o*"], ["old", "typo"]),
        (["--since", "1h"], ["typo", "", "dropped"]),
        (["--until", "1h"], ["old"]),
        (["--limit", "1"], ["dropped"]),
    ):
        assert [row["id"] for row in await desk.listed(*options)] == wanted, options

    text = (await desk.say("list")).out
    heading, first, *_ = text.splitlines()
    assert heading.split() == ["PLACE", "AT", "STAGE", "TOPIC", "CLASS", "MESSAGE", "REPLAYS", "DECISION"]
    assert f"{UNKNOWN}" in first
    assert len(text.splitlines()) == 5
    assert BODY not in text
    assert "7654321" not in json.dumps(await desk.listed())


async def test_a_letter_is_shown_with_its_reason_and_its_content_only_on_request(desk: Desk) -> None:
    await desk.put(desk.letter("c-1", connection="other", customer="Alice"))
    place = await desk.place("c-1")
    shown = (await desk.say("show", place)).out
    for wanted in (
        UNKNOWN,
        "Rejected",
        f"{desk.topic}, partition 0, offset 7",
        "id = c-1",
        "connection = other",
        "open",
    ):
        assert wanted in shown
    for private in (BODY, "Alice", OTHER_PHONE_NUMBER):
        assert private not in shown
    whole = (await desk.say("show", place, "--content")).out
    assert BODY in whole
    assert "customer = Alice" in whole


@pytest.mark.parametrize("command", ["show", "replay"])
async def test_a_letter_that_is_not_there_is_said(desk: Desk, command: str) -> None:
    for place in ("0/99", "99/0"):
        said = await desk.say(command, place)
        assert said.code == 1
        assert "There is no dead letter here" in said.err


# --- replay -----------------------------------------------------------------------------------------------------------
async def test_a_dry_run_says_what_would_be_written_where_and_writes_nothing(desk: Desk) -> None:
    await desk.put(desk.letter("c-1"), desk.letter("c-2"), desk.row())
    said = await desk.say("replay", "--where", "id=*", "--dry-run", "--format", "json")
    assert said.code == 0
    assert [(row["topic"], row["command"]) for row in said.rows] == [
        (desk.topic, "c-1#replay-1"),
        (desk.topic, "c-2#replay-1"),
    ]
    assert "1 not from a command topic" in said.err
    assert await desk.replayed() == await read_all(desk.kafka, f"{desk.prefix}.control") == []


async def test_what_was_corrected_in_the_configuration_succeeds_when_it_is_replayed(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    document = configuration(simulator, kafka=kafka, prefix=prefix, roles=["commands"])
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    await producer.start()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(producer.stop)
        (process,) = await stack.enter_async_context(running(document, tmp_path))
        desk = Desk(Connector(document, tmp_path), kafka, prefix, producer)
        headers = [("id", b"c-1"), ("correlation-id", b"order-7"), ("connection", b"other"), ("x", b"y")]
        await desk.put(Record(desk.topic, b"customer-42", json.dumps(message()).encode(), headers))
        (rejected,) = values(await wait_for_records(kafka, f"{prefix}.results.send-message", 1))
        assert rejected["outcome"] == "rejected"
        await process.stop()
        process.document["connections"] = {"other": document["connections"]["default"]}
        await process.start()

        said = await desk.say("replay", "--where", "message=*other*", "--yes")
        assert said.code == 0, said.err
        assert "c-1#replay-1" in said.out
        results = await wait_for_records(kafka, f"{prefix}.results.send-message", 2)
        first, again = await desk.replayed()
        assert values(results)[-1]["outcome"] == "succeeded"
        assert values(results)[-1]["command"]["id"] == "c-1#replay-1"
        assert headers_of(results[-1])["ce_correlationid"] == "order-7"
        assert (again.key, again.value, again.partition) == (first.key, first.value, first.partition)
        assert headers_of(again) == {**headers_of(first), "dlq.replay.count": "1"}
        (listed,) = await desk.listed()
        assert (listed["verdict"]["decision"], listed["verdict"]["by"]) == ("replayed", "command line")


async def test_a_second_replay_is_refused_unless_somebody_insists(desk: Desk) -> None:
    await desk.put(desk.letter("c-1"))
    place = await desk.place("c-1")
    assert (await desk.say("replay", place, "--yes")).code == 0
    refused = await desk.say("replay", place, "--yes")
    assert refused.code == 1
    assert "It was replayed already by command line" in refused.err
    chosen = await desk.say("replay", "--where", "id=c-1", "--yes")
    assert chosen.code == 0
    assert "1 replayed or discarded already" in chosen.err
    assert len(await desk.replayed()) == 1
    insisted = await desk.say("replay", place, "--again", "--yes", "--format", "json")
    assert [row["command"] for row in insisted.rows] == ["c-1#replay-2"]
    assert [headers_of(record)["dlq.replay.count"] for record in await desk.replayed()] == ["1", "2"]


async def test_a_single_letter_is_replayed_with_a_corrected_value(desk: Desk) -> None:
    await desk.put(desk.letter("c-1"), desk.letter("c-2"))
    value = json.dumps(message(body="corrected"))
    assert (await desk.say("replay", "--where", "id=*", "--value", value, "--yes")).code == 2
    assert (await desk.say("replay", "--where", "id=c-2", "--value", value, "--yes")).code == 0
    once_more = await desk.say("replay", "--where", "id=c-2", "--value", value, "--yes")
    assert (once_more.code, "1 replayed or discarded already" in once_more.err) == (0, True)
    (again,) = await desk.replayed()
    assert json.loads(again.value)["body"] == "corrected"
    (listed,) = await desk.listed("--where", "decision=replayed")
    assert listed["verdict"]["note"] == "edited"


async def test_what_came_from_twilio_is_not_replayed_and_the_remedy_is_said(desk: Desk) -> None:
    await desk.put(desk.row())
    said = await desk.say("replay", await desk.place(""), "--yes", "--again")
    assert said.code == 1
    assert "rewind the watch" in said.err


async def test_what_may_have_been_forgotten_is_not_replayed_by_itself(desk: Desk) -> None:
    """The control topic has lost its beginning, and with it perhaps the decision about an older letter."""
    await desk.put(desk.letter("old"), at=datetime.now(UTC) - timedelta(hours=1))
    for number in (1, 2):
        await desk.put(control.encode(desk.prefix, control.Request(action="pause", watch=f"w-{number}")))
    admin = AdminClient({"bootstrap.servers": desk.kafka})
    place = TopicPartition(f"{desk.prefix}.control", 0, 1)
    for future in (await asyncio.to_thread(admin.delete_records, [place])).values():
        await asyncio.to_thread(future.result, 20)
    await desk.put(desk.letter("new"))
    said = await desk.say("replay", "--where", "id=*", "--yes", "--format", "json")
    assert [row["command"] for row in said.rows] == ["new#replay-1"]
    assert "1 older than the memory" in said.err
    assert (await desk.say("replay", "--where", "id=old", "--again", "--yes")).code == 0


async def test_nothing_is_written_where_nobody_can_be_asked(desk: Desk) -> None:
    await desk.put(desk.letter("c-1"))
    said = await desk.say("replay", "--since", "1h")
    assert said.code == 2
    assert "--yes" in said.err
    assert await desk.replayed() == []


@pytest.mark.parametrize(("answer", "count"), [("n", 0), ("y", 1)])
async def test_on_a_terminal_somebody_is_asked(desk: Desk, answer: str, count: int) -> None:
    await desk.put(desk.letter("c-1"))
    leader, follower = pty.openpty()
    file = desk.process.folder / "connector.yaml"
    desk.process.settings  # noqa: B018 - writes the file
    command = ["-m", "connector", "dead-letters", "replay", "--since", "1h", "-c", str(file)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdin=follower, stdout=follower, stderr=follower
    )
    os.close(follower)
    os.write(leader, f"{answer}\n".encode())
    async with asyncio.timeout(60):
        code = await process.wait()
    written = os.read(leader, 65536).decode()
    os.close(leader)
    assert f"1 to {desk.topic}" in written
    assert code == (0 if count else 1)
    assert len(await desk.replayed()) == count


# --- exactly once -----------------------------------------------------------------------------------------------------
COUNT = 60


async def many(desk: Desk) -> None:
    await asyncio.gather(*(desk.put(desk.letter(f"c-{number}", key=f"k-{number}")) for number in range(COUNT)))


def often(records: Sequence[ConsumerRecord]) -> Mapping[str, int]:
    """How often each command was replayed."""
    return Counter(headers_of(record)["id"] for record in records)


async def test_a_replayer_that_is_killed_again_and_again_replays_each_letter_once(desk: Desk) -> None:
    await many(desk)
    arguments = ("replay", "--since", "1h", "--yes", "--rate", "30/s")
    for share in (0.2, 0.5, 0.8):
        process = await desk.start(*arguments)
        async with asyncio.timeout(60):
            while len(await desk.replayed()) < COUNT * share:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        await process.wait()
    last = await desk.say(*arguments)
    assert last.code == 0, last.err
    found = await desk.replayed()
    assert often(found) == {f"c-{number}": 1 for number in range(COUNT)}
    assert len(await desk.listed("--where", "decision=replayed")) == COUNT


@pytest.mark.parametrize("without", ["", "decision in the transaction"])
async def test_a_replayer_that_dies_when_a_letter_was_written_does_not_write_it_again(desk: Desk, without: str) -> None:
    await many(desk)
    # So slow that each letter has a transaction of its own.
    arguments = ("replay", "--since", "1h", "--yes", "--rate", "15/s")
    process = await desk.start(*arguments, module=LAUNCHER, WITHOUT=without, HOLD="replay:k-40")
    status = Path(f"/proc/{process.pid}/stat")
    await until(lambda: status.read_text().rpartition(")")[2].split()[0] == "T")
    process.send_signal(signal.SIGKILL)
    await process.wait()
    assert (await desk.say(*arguments)).code == 0
    twice = [name for name, count in often(await desk.replayed()).items() if count > 1]
    assert twice == (["c-40"] if without else [])


async def test_a_second_replayer_ends_the_first_and_replays_the_rest(desk: Desk) -> None:
    await many(desk)
    first = await desk.start("replay", "--since", "1h", "--yes", "--rate", "10/s")
    async with asyncio.timeout(60):
        while len(await desk.replayed()) < 5:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)
    second = await desk.say("replay", "--since", "1h", "--yes")
    assert second.code == 0, second.err
    async with asyncio.timeout(60):
        _, err = await first.communicate()
    assert first.returncode == 1
    assert "Somebody else has begun to replay" in err.decode()
    assert often(await desk.replayed()) == {f"c-{number}": 1 for number in range(COUNT)}


# --- values -----------------------------------------------------------------------------------------------------------
async def test_every_field_that_is_offered_can_be_compared(desk: Desk) -> None:
    await desk.put(desk.letter("c-1"))
    (record,) = await read_all(desk.kafka, f"{desk.prefix}.dead-letters")
    assert sorted(fields(record, Decisions())) == sorted(LETTER_FIELDS)
