"""The journal: what is written is read back, and tells what is open, what is finished and which ids were seen."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete
from hypothesis import given
from hypothesis import strategies as st

from connector.errors import Unavailable
from connector.events import Position, Record
from connector.executor.command import partition_of_id
from connector.executor.dedupe import MAX_IDS, Ids, number_of
from connector.kafka import clients, reading, topics
from connector.kafka.transactions import Transactions
from connector.settings import KafkaSettings
from connector.state import journal
from connector.state.claims import Claims, View
from connector.state.journal import Digest, Entry, State
from tests.executing import kafka_settings

TOPIC = "t.commands.send-message"
moments = st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2100, 1, 1)).map(  # noqa: DTZ001 - made aware
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000, tzinfo=UTC)
)
entries = st.builds(
    Entry,
    state=st.sampled_from(["attempting", "withdrawn", "done"]),
    topic=st.just(TOPIC),
    offset=st.integers(0, 5),
    id=st.text(min_size=1, max_size=20),
    at=moments,
    alike=st.none() | st.text(max_size=8),
    outcome=st.none() | st.sampled_from(["succeeded", "failed", "unknown", "rejected", "expired", "duplicate"]),
    sid=st.none() | st.from_regex(r"SM[0-9a-f]{4}", fullmatch=True),
    explicit=st.booleans(),
)
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def entry(state: str = "attempting", offset: int = 0, **more: object) -> Entry:
    given = {"topic": TOPIC, "id": f"id-{offset}", "at": NOW, **more}
    return Entry(state=state, offset=offset, **given)  # type: ignore[arg-type]  # literals and texts of the tests


@given(entries)
def test_an_entry_reads_back_as_it_was(given_entry: Entry) -> None:
    record = journal.encode("t", given_entry, partition=3)
    assert record.value is not None
    assert journal.decode(record.value) == given_entry
    assert record.key == f"{TOPIC}/{given_entry.id}".encode()
    assert (record.topic, record.partition) == ("t.journal", 3)


def test_members_of_a_later_version_are_passed_over() -> None:
    record = journal.encode("t", entry(), partition=0)
    assert record.value is not None
    assert journal.decode(record.value[:-1] + b',"weather":"fine"}') == entry()


ODD_RECORDS = [
    b"",
    b"rubbish",
    b"null",
    b"[]",
    b"{}",
    b'{"command":{"id":"x"},"outcome":"succeeded"}',
    b'{"state":"done","topic":"t","offset":"5","id":"x","at":"2026-11-24T12:00:00Z"}',
    b'{"state":"done","topic":"t","offset":-5,"id":"x","at":"2026-11-24T12:00:00Z"}',
    b'{"state":"done","topic":"t","offset":5,"id":7,"at":"2026-11-24T12:00:00Z"}',
    b'{"state":"maybe","topic":"t","offset":5,"id":"x","at":"2026-11-24T12:00:00Z"}',
    b'{"state":"done","topic":"t","offset":5,"id":"x","at":"2026-11-24T12:00:00"}',
    b'{"state":"done","topic":"t","offset":5,"id":"x","at":"soon"}',
    b'{"state":"done","topic":"t","offset":5,"id":"x","at":5}',
    b'{"state":"done","topic":"t","offset":5,"id":"x","at":"2026-11-24T12:00:00Z","sid":[]}',
    b"[" * 5_000,
]


@pytest.mark.parametrize("value", ODD_RECORDS)
def test_what_is_not_an_entry_is_said_to_be_none(value: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - JSON's own error is one as well
        journal.decode(value)
    with pytest.raises(ValueError):  # noqa: PT011 - the same
        journal.decode_digest(value)


@given(st.binary(max_size=80) | st.lists(st.none() | st.text()).map(orjson.dumps))
def test_whatever_is_in_the_journal_is_an_entry_or_a_value_error(value: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the same
        journal.decode(value)


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**63)), max_size=50), moments)
def test_a_digest_reads_back_as_it_was(pairs: list[tuple[int, int]], until: datetime) -> None:
    digest = Digest(through=9, previous=4, until=until, pairs=pairs)
    record = journal.encode_digest("t", digest, partition=0)
    assert record.value is not None
    assert journal.decode_digest(record.value) == digest


@given(st.lists(entries, max_size=30))
def test_open_is_what_began_and_neither_ended_nor_was_withdrawn(found: list[Entry]) -> None:
    state = State()
    for offset, one in enumerate(found):
        state.note(one, offset)
    last = {one.topic_offset: (offset, one) for offset, one in enumerate(found)}
    opened = {where: (one, offset) for where, (offset, one) in last.items() if one.state == "attempting"}
    assert state.open == opened
    done = {one.topic_offset for one in found if one.state == "done"}
    assert all((offset in state.finished[topic]) for topic, offset in done)


# --- which resource is whose ------------------------------------------------------------------------------------------
def test_commands_of_two_partitions_are_never_taken_for_one() -> None:
    view = View()
    view.note(entry("done", 7, sid="SM1"), partition=0)
    view.note(entry("done", 7, sid="SM2"), partition=1)
    assert view.taken(Position(TOPIC, 0, 7)) == {"SM2"}
    assert view.taken(Position(TOPIC, 1, 7)) == {"SM1"}
    assert view.taken(Position(TOPIC, 2, 7)) == {"SM1", "SM2"}


def test_open_attempts_of_others_that_look_alike_are_told() -> None:
    view = View()
    view.note(entry(offset=1, alike="same"), partition=0)
    view.note(entry(offset=1, alike="same"), partition=1)
    view.note(entry(offset=2, alike="other"), partition=1)
    view.note(entry(offset=3, alike="same"), partition=1)
    view.note(entry("withdrawn", 3, alike="same"), partition=1)
    assert {place: one.entry.at for place, one in view.others(Position(TOPIC, 0, 1), "same").items()} == {
        (TOPIC, 1, 1): NOW
    }


# --- ids --------------------------------------------------------------------------------------------------------------
@given(st.lists(st.tuples(st.text(max_size=5), st.integers(0, 10**6)), max_size=80), st.integers(1, 20))
def test_an_id_is_found_wherever_it_is_kept(seen: list[tuple[str, int]], size: int) -> None:
    ids = Ids()
    for name, end in seen:
        ids.note(number_of(TOPIC, name), end, NOW)
        digest = ids.digest(through=0, previous=None, least=size)
        if digest is not None:
            ids.keep(digest)
    last = dict(seen)
    assert all(ids.end_of(number_of(TOPIC, name)) == end for name, end in last.items())
    assert ids.end_of(number_of(TOPIC, "never seen")) is None


def test_ids_of_before_the_window_are_forgotten() -> None:
    ids = Ids()
    for day in range(3):
        ids.note(day, day, NOW + timedelta(days=day))
        digest = ids.digest(through=0, previous=None, least=1)
        assert digest is not None
        ids.keep(digest)
    ids.forget(NOW + timedelta(days=1))
    assert [ids.end_of(day) for day in range(3)] == [None, 1, 2]


def test_more_ids_than_there_is_room_for_are_forgotten_and_it_is_said() -> None:
    ids = Ids()
    for start in range(0, MAX_IDS + 300_000, 100_000):
        ids.keep(Digest(through=0, previous=None, until=NOW, pairs=[(start + n, n) for n in range(100_000)]))
    assert len(ids) <= MAX_IDS
    assert ids.forgotten
    assert ids.end_of(0) is None
    assert ids.end_of(MAX_IDS + 250_000) is not None


def test_a_running_id_is_ended_by_its_own_command_alone() -> None:
    ids = Ids()
    ids.begin(1, (TOPIC, 5))
    ids.end(1, (TOPIC, 6))
    running = ids.running(1)
    assert running is not None
    ids.end(1, (TOPIC, 5))
    assert running.finished.is_set()
    assert ids.running(1) is None


def test_an_id_has_one_home_and_ids_are_spread() -> None:
    homes = [partition_of_id(f"id-{number}", 6) for number in range(600)]
    assert homes == [partition_of_id(f"id-{number}", 6) for number in range(600)]
    assert all(homes.count(partition) > 60 for partition in range(6))


# --- with Kafka -------------------------------------------------------------------------------------------------------
@pytest.fixture
async def settings(kafka: str, prefix: str) -> KafkaSettings:
    found = kafka_settings(kafka, prefix, partitions=2)
    await topics.apply(found, topics.wanted(found, events=[], commands=[]))
    return found


async def _write(settings: KafkaSettings, *found: Entry, partition: int = 0) -> list[int]:
    transactions = Transactions(settings, f"{settings.topic_prefix}-{partition}")
    await transactions.open()
    records = [journal.encode(settings.topic_prefix, one, partition=partition) for one in found]
    written = [(await transactions.write([record]))[0] for record in records]
    await transactions.close()
    return written


async def test_restoring_reads_from_the_low_water_mark_to_the_end(settings: KafkaSettings) -> None:
    offsets = await _write(settings, entry(offset=0), entry("done", 0), entry(offset=1), entry(offset=2))
    end = await reading.end_of(settings, journal.topic_of(settings), 0)
    state = await journal.restore(settings, 0, low=offsets[1], end=end)
    assert state.records == 3
    assert {where: offset for where, (_, offset) in state.open.items()} == {
        (TOPIC, 1): offsets[2],
        (TOPIC, 2): offsets[3],
    }
    # A marker follows each transaction.
    assert end == offsets[3] + 2
    assert (await journal.restore(settings, 1, low=0, end=0)).records == 0


async def test_restoring_from_where_entries_were_deleted_just_now_does_not_pass_over_them(
    settings: KafkaSettings,
) -> None:
    """Between the moment when the journal's beginning was asked for, and the one when it is read."""
    *_, last = await _write(settings, entry(offset=0), entry("done", 0), entry(offset=1))
    place = TopicPartition(journal.topic_of(settings), 0)
    async with clients.administration(settings) as admin:
        await admin.delete_records({place: RecordsToDelete(before_offset=last)})
    with pytest.raises(Unavailable):
        await journal.restore(settings, 0, low=0, end=last + 1)
    with pytest.raises(Unavailable):
        await journal.since(settings, 0, 0)
    assert len(await journal.since(settings, 0, last)) == 1
    assert (await journal.restore(settings, 0, low=last, end=last + 1)).records == 1


async def test_what_was_written_since_is_found(settings: KafkaSettings) -> None:
    first, second = await _write(settings, entry(offset=0), entry(offset=1))
    assert [record.offset for record in await journal.since(settings, 0, first + 1)] == [second]
    assert await journal.since(settings, 0, second + 1) == []


async def test_single_entries_and_digests_are_found_by_their_offsets(settings: KafkaSettings) -> None:
    transactions = Transactions(settings, f"{settings.topic_prefix}-0")
    await transactions.open()
    previous: int | None = None
    for number in range(3):
        digest = Digest(through=number, previous=previous, until=NOW, pairs=[(number, number)])
        entry_offset, previous = await transactions.write(
            [
                journal.encode(settings.topic_prefix, entry(offset=number), partition=0),
                journal.encode_digest(settings.topic_prefix, digest, partition=0),
            ]
        )
    await transactions.close()
    assert previous is not None
    assert [digest.through async for digest in journal.digests(settings, 0, newest=previous)] == [2, 1, 0]
    assert await journal.entry_at(settings, 0, entry_offset) == entry(offset=2)
    assert await journal.entry_at(settings, 0, previous) is None
    assert await journal.entry_at(settings, 0, 10_000) is None
    end = await reading.end_of(settings, journal.topic_of(settings), 0)
    assert (await journal.restore(settings, 0, low=0, end=end)).records == 3


async def test_every_reader_passes_over_what_is_not_an_entry(settings: KafkaSettings) -> None:
    odd = [Record(journal.topic_of(settings), b"key", value, [], 0) for value in ODD_RECORDS]
    transactions = Transactions(settings, f"{settings.topic_prefix}-0")
    await transactions.open()
    place = journal.encode(settings.topic_prefix, entry(offset=7, alike="a"), partition=0)
    rubbish = replace(place, key=journal.DIGEST_KEY, value=b"rubbish")
    first, *_ = await transactions.write([*odd, place, rubbish])
    await transactions.close()
    end = first + len(odd) + 2
    state = await journal.restore(settings, 0, low=0, end=end)
    assert (state.records, list(state.open)) == (1, [(TOPIC, 7)])
    assert len(await journal.since(settings, 0, 0)) == len(odd) + 2
    assert await journal.entry_at(settings, 0, first) is None
    assert [digest async for digest in journal.digests(settings, 0, newest=end - 1)] == []
    claims = Claims(settings)
    async with claims.used():
        assert list((await claims.view(datetime.now(UTC))).attempts) == [(TOPIC, 0, 7)]


async def test_claims_are_those_of_all_partitions(settings: KafkaSettings) -> None:
    now = datetime.now(UTC)
    claims = Claims(settings)
    async with claims.used():
        await _write(settings, entry(offset=0, alike="a"), entry("done", 0, sid="SM0"), partition=0)
        view = await claims.view(now)
        assert view.owners == {"SM0": (TOPIC, 0, 0)}
        await _write(settings, entry(offset=0, alike="a"), partition=1)
        view = await claims.view(now)
        assert view.others(Position(TOPIC, 0, 0), "a").keys() == {(TOPIC, 1, 0)}
    assert claims._consumer is None
