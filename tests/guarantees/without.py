"""`python -m tests.guarantees.without`: the connector without one of its safeguards, or with a stop at a step.

WITHOUT names the safeguards that are taken away, with commas between them, HOLD the step at which the process stops
itself (SIGSTOP), as `step:command id`. The product has no switches for either: functions of it are replaced before it
runs. A test in whose own process the executor runs uses `taken_away`.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from connector.__main__ import main
from connector.dead_letters.replay import Replayer
from connector.events import Record, boot_seconds
from connector.executor import doubt, execution, owner, restoring, writer
from connector.executor.dedupe import Dedupe
from connector.executor.execution import Execution
from connector.executor.owner import Owner
from connector.executor.under_way import Lanes
from connector.executor.writer import Attempts
from connector.kafka import clients
from connector.kafka.ownership import Assignment
from connector.kafka.publisher import Publisher
from connector.kafka.sending.sender import Sender
from connector.kafka.transactions import Transactions
from connector.state import checkpoints, journal
from connector.twilio.client import TwilioClient
from connector.twilio.clock import TwilioClock
from connector.watcher import cursor as cursors
from connector.watcher import watcher as engine


def _fencing() -> None:
    """Writes go through ordinary idempotent producers: nobody is refused, whoever the group knows."""

    async def open_(self: Any) -> None:
        await self.close()
        self._sender = await clients.start(Sender(self._kafka))
        self.usable = True

    async def write(self: Any, records: Sequence[Record]) -> list[int]:
        return await self._sender.write(records)  # type: ignore[no-any-return]

    async def open_attempts(self: Any) -> None:
        self._sender = await clients.start(Sender(self._kafka))
        self._keep_at = float("inf")

    _replace(Transactions, open=open_, write=write)
    _replace(Attempts, open=open_attempts)
    _proof()


def _proof() -> None:
    """What is written down is sent, whether the group knows the owner or not."""
    _replace(Assignment, known_until=float("inf"))


def _fence() -> None:
    """An owner opens the id of its attempts, and writes no record before its first attempt."""
    _replace(Attempts, open=_open_without_a_fence)


def _fence_before_the_end() -> None:
    """The end of the journal is looked up first, and what lies below it is read; then the fence is written."""
    restore = restoring.restore
    opened: dict[int, Any] = {}

    async def open_(self: Any) -> None:
        await _open_without_a_fence(self)
        opened[self._partition] = self

    async def then_fence(kafka: Any, assignment: Any, topics: Any) -> Any:
        restored = await restore(kafka, assignment, topics)
        late = opened[assignment.partition]
        await late.write(late._fence)
        return restored

    _replace(Attempts, open=open_)
    _replace(restoring, restore=then_fence)


async def _open_without_a_fence(self: Any) -> None:
    sender = Sender(self._kafka, transactional_id=self._transactional_id, is_beside=True)
    self._sender = await clients.start(sender)
    self._keep_at = boot_seconds() + writer.KEEP_SECONDS


def _kept_fence() -> None:
    """Nothing is done so that the broker goes on remembering whom it refuses."""

    async def nothing(_self: Any) -> None:
        return

    _replace(Attempts, keep_regularly=nothing)


def _an_hour() -> None:
    """No safeguard: what is due every hour is due every half second."""
    _replace(writer, KEEP_SECONDS=0.5)
    _replace(owner, QUIET_KEEP_SECONDS=0.5)


def _keeper() -> None:
    """No safeguard: without it an owner that wakes up hears that it is superseded when it sends, and not before."""

    async def keep_regularly(_self: Any) -> None:
        await asyncio.Event().wait()

    _replace(Owner, _keep_regularly=keep_regularly)


def _foreign_fence() -> None:
    """Another owner's fence in the journal says nothing."""

    async def since(self: Any, start: int) -> Sequence[Any]:
        records = await journal.since(self._kafka, self._partition, start)
        return [record for record in records if not journal.is_fence(record)]

    _replace(Attempts, since=since)


def _lease() -> None:
    """An attempt that was written down long ago is still sent, whoever the group knows."""
    _replace(execution, LEASE=timedelta(days=1))
    _proof()


def _check_at_the_socket() -> None:
    """The lease is checked before the request is begun, and not again when it is written."""
    send = TwilioClient.send

    async def unguarded(self: TwilioClient, request: Any, **given: Any) -> Any:
        return await send(self, request, **{**given, "write_until": None})

    _replace(TwilioClient, send=unguarded)


def _journal() -> None:
    """Nothing is written down before a create."""

    async def attempt(_self: Any, _command: Any, _entry: Any) -> None:
        return

    _replace(Owner, attempt=attempt)


def _in_doubt() -> None:
    """What nobody knows is sent again without asking Twilio."""

    async def nothing(*_: Any, **__: Any) -> None:
        return

    _replace(doubt, after_predecessor=nothing, resolve=nothing)


def _restored_journal() -> None:
    """A successor does not read what its predecessor has written down."""

    async def restore(*_: Any, **__: Any) -> journal.State:
        return journal.State()

    _replace(journal, restore=restore)


def _cursor_in_the_transaction() -> None:
    """Events first, then the cursor."""

    def commit_to(transactions: Any, kafka: Any, name: str, partition: int, writing: asyncio.Lock) -> Any:
        async def commit(records: Sequence[Record], cursor: Any) -> None:
            last = cursors.record(kafka.topic_prefix, name, cursor, partition=partition)
            async with writing:
                if records:
                    await transactions.write(records)
                    _stop_at("cursor", "")
                await transactions.write([last])

        return commit

    _replace(engine, commit_to=commit_to)


def _awaited_ack() -> None:
    """Callbacks are answered before Kafka has acknowledged."""
    publish = Publisher.publish
    tasks: set[asyncio.Task[None]] = set()

    async def without(self: Publisher, records: Sequence[Record]) -> None:
        task = asyncio.ensure_future(publish(self, records))
        tasks.add(task)
        task.add_done_callback(clients.mark_retrieved)
        task.add_done_callback(tasks.discard)

    _replace(Publisher, publish=without)


def _drain() -> None:
    """What is in flight is broken off."""

    async def drain(self: Any, _seconds: float) -> bool:
        return bool(await self.cancel())

    _replace(Lanes, drain=drain)


def _decision_in_the_transaction() -> None:
    """A dead letter is replayed first, then it is noted that it was."""

    async def write(self: Any, records: Sequence[Record], decided: Sequence[Record]) -> None:
        await self._transactions.write(records)
        _stop_at("replay", records[0].key)
        await self._transactions.write(decided)

    _replace(Replayer, _write=write)


def _dedupe() -> None:
    """Every command is the first of its id."""

    async def first(*_: Any) -> None:
        return

    _replace(Dedupe, first=first)


def _checkpoints() -> None:
    """A successor knows what the group's offsets and the journal say, and no more."""

    async def restore(*_: Any) -> None:
        return

    _replace(checkpoints, restore=restore)


def _doubt() -> None:
    """Of which commands nothing is known counts as not executed."""
    _replace(Owner, _is_doubtful=lambda *_: False)


def _forwarded_commands() -> None:
    """A command is executed in the partition where it lies, whatever its key."""

    async def forwarded(_self: Any) -> bool:
        return False

    _replace(Execution, _forwarded=forwarded)


def _later_of_both_clocks() -> None:
    """An id is as old as Twilio's clock has said when it was written down."""
    _replace(journal.Entry, latest=journal.Entry.moment)


def _twilios_clock() -> None:
    """Our own clock counts, whatever Twilio's answers say."""
    _replace(TwilioClock, note=lambda *_, **__: None)


SAFEGUARDS: Mapping[str, Callable[[], None]] = {
    "fencing": _fencing,
    "proof": _proof,
    "fence": _fence,
    "fence before the end": _fence_before_the_end,
    "kept fence": _kept_fence,
    "an hour": _an_hour,
    "keeper": _keeper,
    "foreign fence": _foreign_fence,
    "lease": _lease,
    "check at the socket": _check_at_the_socket,
    "journal": _journal,
    "in-doubt branch": _in_doubt,
    "restored journal": _restored_journal,
    "cursor in the transaction": _cursor_in_the_transaction,
    "awaited ack": _awaited_ack,
    "drain": _drain,
    "decision in the transaction": _decision_in_the_transaction,
    "dedupe window": _dedupe,
    "checkpoints": _checkpoints,
    "doubt": _doubt,
    "forwarded commands": _forwarded_commands,
    "Twilio's clock": _twilios_clock,
    "later of both clocks": _later_of_both_clocks,
}


@contextmanager
def taken_away(safeguards: str) -> Iterator[None]:
    """In this process, for as long as the context lasts; nothing is taken away when it is empty."""
    before = len(_replaced)
    try:
        _take_away(safeguards)
        yield
    finally:
        while len(_replaced) > before:
            owner, name, function = _replaced.pop()
            setattr(owner, name, function)


def _take_away(safeguards: str) -> None:
    for safeguard in safeguards.split(", ") if safeguards else ():
        SAFEGUARDS[safeguard]()


def _holding() -> None:
    """Stop at a step: before an attempt is written, before it is sent, when a result or a replay is durable."""
    begin, attempt, finish, commit_to = Execution.attempt, Owner.attempt, Owner.finish, engine.commit_to
    open_request = TwilioClient._open

    def held_open(self: TwilioClient, outgoing: Any, *given: Any) -> Any:
        if outgoing.method == "POST":
            _stop_at("write", "")
        return open_request(self, outgoing, *given)

    write = Replayer._write

    async def held_begin(self: Execution, job: Any) -> Any:
        _stop_at("attempt", job.command.id)
        return await begin(self, job)

    async def held_attempt(self: Owner, command: Any, entry: Any) -> None:
        await attempt(self, command, entry)
        _stop_at("send", command.id)

    async def held_finish(self: Owner, command: Any, records: Sequence[Record], entry: Any) -> None:
        await finish(self, command, records, entry)
        _stop_at("finish", command.id)

    def held_commit_to(*given: Any) -> Any:
        committing = commit_to(*given)

        async def committed(records: Sequence[Record], cursor: Any) -> None:
            await committing(records, cursor)
            if records:
                _stop_at("cursor", "")

        return committed

    async def held_write(self: Replayer, records: Sequence[Record], decided: Sequence[Record]) -> None:
        await write(self, records, decided)
        _stop_at("replay", records[0].key)

    _replace(Execution, attempt=held_begin)
    _replace(TwilioClient, _open=held_open)
    _replace(Replayer, _write=held_write)
    _replace(Owner, attempt=held_attempt, finish=held_finish)
    _replace(engine, commit_to=held_commit_to)


def _holding_at_the_end() -> None:
    """Stop when the end of a partition's journal has been looked up, and nothing was read yet."""
    found = restoring._found

    async def held_found(kafka: Any, assignment: Any, topics: Any) -> Any:
        known = await found(kafka, assignment, topics)
        _stop_at("end", str(assignment.partition))
        return known

    _replace(restoring, _found=held_found)


def _stop_at(step: str, command_id: str | bytes | None) -> None:
    which = command_id.decode() if isinstance(command_id, bytes) else command_id
    if os.environ.get("HOLD") == f"{step}:{which}":
        del os.environ["HOLD"]
        os.kill(os.getpid(), signal.SIGSTOP)


_replaced: list[tuple[object, str, Any]] = []


def _replace(owner: object, **functions: Any) -> None:
    for name, function in functions.items():
        # What is renamed in the product is to be renamed here: getattr fails.
        _replaced.append((owner, name, getattr(owner, name)))
        setattr(owner, name, function)


if __name__ == "__main__":
    if os.environ.get("HOLD"):
        _holding()
        _holding_at_the_end()
    _take_away(os.environ.get("WITHOUT", ""))
    main()
