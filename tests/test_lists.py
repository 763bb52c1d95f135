"""Lists by configuration: what is refused at the start, what a row without key or date becomes, what a trial tells."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from aiohttp import web

from connector.errors import ConfigurationError
from connector.kafka import topics
from connector.resources import WATCHES
from connector.settings import Connection, WatchSettings, load
from connector.settings.lists import FIXED_TOPICS
from connector.simulator import ACCOUNT_SID, AUTH_TOKEN, Simulator
from connector.watcher.parents import source_of
from connector.watcher.reading import TwilioSource
from connector.watcher.status import Stretch
from connector.watcher.trial import told, try_watch
from connector.watcher.watcher import Watcher
from tests.forked import completed
from tests.running import configuration, read_all, until, wait_for_records
from tests.running import running as running_process
from tests.twilio_servers import connected, serving
from tests.watch_lives import LISTS
from tests.watching import ACCOUNT, NOW, Kafka, Twilio, publication, running, sid, wait_for, watcher

QUEUES: dict[str, Any] = {
    **LISTS["queues"],
    "emit": "changes",
    "version": ["friendly_name", "max_size"],
    "fetch": "/2010-04-01/Accounts/{AccountSid}/Queues/{sid}.json",
}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"path": None}, "path: is missing: give the path of the list, such as"),
    ({"items": None}, "items: is missing: give the name that holds the rows"),
    ({"name": None}, "name: is missing: give the list a name of its own"),
    ({"path": "https://evil.example.com/Queues.json"}, "path: is an address: write the path alone"),
    ({"path": "//evil.example.com/Queues.json"}, "path: is an address: write the path alone"),
    ({"path": "@evil.example.com/Queues.json"}, "path: '@evil.example.com/Queues.json' is not a path"),
    ({"path": "/a/../../Queues.json"}, "is not a path: begin with /"),
    ({"path": "/a/./Queues.json"}, "is not a path: begin with /"),
    ({"path": "/a/%2e%2e/Queues.json"}, "is not a path: begin with /"),
    ({"path": "/a b.json"}, "is not a path: begin with /"),
    ({"path": "/a.json?Status=x"}, "path: holds a query: write what stands behind ? under filters"),
    ({"path": "/{sid}/a.json"}, "path: holds {sid}, which nothing stands for: write {AccountSid} only"),
    ({"path": "/2010-04-01/Accounts/{AccountSid}/Queues"}, "path: would be answered in XML: let it end in .json"),
    ({"host": "evil.example.com"}, "host: 'evil.example.com' is not a host of Twilio's: write one of api,"),
    ({"host": "verfy"}, "host: 'verfy' is not a host of Twilio's: did you mean verify?"),
    ({"items": "a.b"}, "items: 'a.b' is not the name of a field"),
    ({"created_format": "noon"}, "created_format: 'noon' tells no date: write one of twilio, seconds, milliseconds"),
    ({"created_format": "%H:%M"}, "created_format: '%H:%M' tells no date"),
    ({"key": []}, "key: names 0 fields: name one, two or three"),
    ({"key": "a, b, c, d"}, "key: names 4 fields: name one, two or three"),
    ({"key": "sid, account_sid"}, "fetch: does not hold {account_sid}: every field of the key is needed"),
    ({"fetch": "/Queues/{call_sid}.json"}, "fetch: holds {call_sid}, which nothing stands for"),
    ({"filters": {"PageSize": "5"}}, "filters.PageSize: is the connector's to say: remove it"),
    ({"filters": {"a b": "5"}}, "'a b' is not a parameter of Twilio's"),
    ({"filters": ["Status"]}, "filters: a list is not a mapping"),
    ({"date_filters": {"since": "X>"}, "filters": {"X>": "1"}}, "filters.X>: stands under date_filters as well"),
    ({"date_filters": {"before": "X<"}}, "date_filters.since: is missing"),
    ({"version": None}, "version: is missing: name the fields whose change is an update"),
    ({"final": {"a": "1", "b": "2"}}, "final: names more than one field"),
    ({"final": ["completed"]}, "final: a list is not a mapping"),
    ({"topic": "messages"}, "topic: 'messages' is a topic of the connector's own"),
    ({"topic": "commands.x"}, "topic: 'commands.x' is a topic of the connector's own"),
    ({"topic": "A"}, "topic: 'A' cannot be a name here"),
    ({"name": "A"}, "topic: is missing: 'A' cannot name a topic"),
    ({"order": "oldest"}, "order: 'oldest' is not known here: write any or newest-first"),
    ({"itmes": "queues"}, "itmes: is not a setting: did you mean items?"),
    ({"status": "busy"}, "status: is not a filter of list"),
    ({"schema": "/nowhere.json"}, "schema: '/nowhere.json' cannot be read"),
    ({"resource": "calls"}, "path: is for a list by configuration: write resource: list, or remove it"),
]


def problems(folder: Path, *watches: Mapping[str, Any]) -> list[str]:
    """What is wrong with these watches, line by line."""
    connection = {"account_sid": ACCOUNT_SID, "auth_token": AUTH_TOKEN}
    file = folder / "connector.yaml"
    document = {
        "connections": {"default": connection},
        "roles": ["watch"],
        "watches": [dict(watch) for watch in watches],
    }
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    try:
        load(file, environ={})
    except ConfigurationError as error:
        return [problem.replace(str(file), "FILE") for problem in error.problems]
    return []


@pytest.mark.parametrize(("keys", "sentence"), REFUSED, ids=[f"{orjson.dumps(keys)!r:.40}" for keys, _ in REFUSED])
def test_a_mistake_in_a_list_is_told_with_its_line(tmp_path: Path, keys: dict[str, Any], sentence: str) -> None:
    watch = {name: value for name, value in (QUEUES | keys).items() if value is not None}
    found = problems(tmp_path, watch)
    assert any(sentence in problem for problem in found), found
    assert all(problem.startswith("FILE:") for problem in found)


def test_two_lists_have_two_topics_and_one_list_of_two_accounts_may_share_one(tmp_path: Path) -> None:
    again = {**QUEUES, "name": "again", "topic": "queues"}
    assert problems(tmp_path, QUEUES, again) == []
    other = {**again, "path": "/2010-04-01/Accounts/{AccountSid}/Conferences.json"}
    assert problems(tmp_path, QUEUES, other) == [
        "FILE:24: watches.1.topic: 'queues' is the topic of another list: give each list its own"
    ]


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ("{", "not JSON"),
        ('{"type": "nothing"}', ""),
        ('{"$ref": "https://evil.example.com/schema.json"}', ""),
        ('{"$ref": "file:///etc/passwd"}', ""),
    ],
)
def test_a_schema_that_does_not_stand_alone_is_refused(tmp_path: Path, schema: str, reason: str) -> None:
    file = tmp_path / "queue.json"
    file.write_text(schema)
    (problem,) = problems(tmp_path, {**QUEUES, "schema": str(file)})
    assert "is no JSON Schema that stands alone" in problem
    assert reason in problem


def test_no_list_can_have_a_topic_of_the_connectors_own() -> None:
    own = topics.names("p", events=(), commands=())
    assert {f"p.{name}" for name in FIXED_TOPICS} == set(own)


@pytest.mark.parametrize("resource", WATCHES)
def test_the_name_of_a_back_fill_tells_its_resource_and_connection(resource: str) -> None:
    stretch = Stretch(resource, "west-2", NOW.replace(second=0), NOW)
    assert Stretch.of(stretch.name) == stretch


# --- rows -----------------------------------------------------------------------------------------------------------
def queue(number: int, created: datetime = NOW, **fields: Any) -> dict[str, Any]:
    """A queue as the list shows it."""
    row = {"sid": sid(number, "QU"), "account_sid": ACCOUNT, "date_created": format_datetime(created), "max_size": 100}
    return row | fields


def listing(twilio: Twilio, kafka: Kafka, **keys: Any) -> Watcher:
    """A watch of queues, from a minute ago."""
    chosen = LISTS["queues"] | {"start": NOW - timedelta(minutes=1)} | keys
    return watcher(twilio, kafka, **chosen)


async def test_rows_are_published_as_twilio_wrote_them_whatever_their_order() -> None:
    rows = [queue(number, NOW - timedelta(seconds=second)) for number, second in ((1, 9), (2, 3), (3, 9000), (4, 9))]
    twilio, kafka = Twilio(*rows), Kafka()
    async with running(listing(twilio, kafka)):
        await kafka.until(lambda: len(kafka.sids) == 3)
        polls = len(twilio.requests)
        await wait_for(lambda: len(twilio.requests) > polls + 2)
    assert kafka.sids == [sid(1, "QU"), sid(4, "QU"), sid(2, "QU")]
    assert [orjson.loads(record.value or b"") for record in kafka.records] == [rows[0], rows[3], rows[1]]
    headers = dict(kafka.records[0].headers)
    assert headers["ce_type"] == b"twilio.queues.created.v1"
    assert headers["ce_source"] == f"/twilio/{ACCOUNT}/queues".encode()
    assert "ce_dataschema" not in headers
    assert kafka.records[0].topic == "t.queues"


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        ({"sid": None}, "Twilio's queues has no SID that could name it."),
        ({"sid": "../../Calls"}, "Twilio's queues has no SID that could name it."),
        ({"date_created": None}, "Twilio's queues has no time in date_created that can be read."),
        ({"date_created": "yesterday"}, "Twilio's queues has no time in date_created that can be read."),
        ({"date_created": {"at": 1}}, "Twilio's queues has no time in date_created that can be read."),
        ({"friendly_name": "x" * 1_100_000}, "Twilio's queues is larger than a record may be: fetch it by its SID."),
    ],
    ids=lambda value: f"{value!r:.40}" if isinstance(value, dict) else "",
)
async def test_an_odd_row_is_a_dead_letter_once_and_its_neighbours_are_events(odd: dict[str, Any], why: str) -> None:
    twilio, kafka = Twilio(queue(1), queue(2) | odd, queue(3)), Kafka()
    async with running(listing(twilio, kafka)):
        await kafka.until(lambda: len(kafka.sids) == 3)
        polls = len(twilio.requests)
        await wait_for(lambda: len(twilio.requests) > polls + 5)
    letters = [record for record in kafka.records if record.topic == "t.dead-letters"]
    (reason,) = [dict(letter.headers)["dlq.errors.message"].decode() for letter in letters]
    assert reason.startswith(why)
    assert {record.key for record in kafka.records if record.topic == "t.queues"} == {
        sid(number, "QU").encode() for number in (1, 3)
    }


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"key": "queue_sid"}, "None of the 2 rows on Twilio's first page has queue_sid: correct `key`."),
        ({"created": "date_enqueued"}, "has a time in date_enqueued that can be read: correct `created`"),
        ({"created_format": "seconds"}, "has a time in date_created that can be read: correct `created`"),
        ({"created_format": "%Y-%m-%d"}, "has a time in date_created that can be read: correct `created`"),
    ],
)
async def test_where_no_row_can_be_named_or_dated_the_watch_stands_still_and_says_so(
    keys: dict[str, Any], why: str
) -> None:
    twilio, kafka = Twilio(queue(1), queue(2)), Kafka()
    watch = listing(twilio, kafka, **keys)
    async with running(watch):
        await wait_for(lambda: watch.failing is not None)
    assert watch.failing is not None
    assert why in watch.failing.why
    assert kafka.records == []


@pytest.mark.parametrize(
    ("written", "pattern"),
    [(1795521600, "seconds"), ("1795521600000", "milliseconds"), ("24.11.2026 12:00", "%d.%m.%Y %H:%M")],
)
async def test_the_time_of_creation_may_be_written_otherwise(written: object, pattern: str) -> None:
    twilio, kafka = Twilio(queue(1, date_created=written)), Kafka()
    async with running(listing(twilio, kafka, created_format=pattern)):
        await kafka.until(lambda: len(kafka.sids) == 1)
    assert dict(kafka.records[0].headers)["ce_time"] == b"2026-11-24T12:00:00Z"


async def test_a_key_of_several_fields_names_a_row() -> None:
    rows = [queue(1, category=category, day="2026-11-24") for category in ("calls", "sms")]
    twilio, kafka = Twilio(*rows), Kafka()
    async with running(listing(twilio, kafka, key="day, category")):
        await kafka.until(lambda: len(kafka.sids) == 2)
    assert kafka.sids == ["2026-11-24:calls", "2026-11-24:sms"]


async def test_a_row_whose_version_changes_is_an_update_until_it_is_final() -> None:
    row = queue(1, status="open")
    twilio, kafka = Twilio(row), Kafka()
    keys = {"emit": "changes", "version": "status", "final": {"status": "closed"}}
    watch = listing(twilio, kafka, fetch="/Queues/{sid}.json", overlap="0s", **keys)
    async with running(watch):
        await kafka.until(lambda: len(kafka.sids) == 1)
        twilio.now += timedelta(seconds=30)
        await wait_for(lambda: watch.cursor is not None and bool(watch.cursor.followed))
        row["status"] = "closed"
        await kafka.until(lambda: len(kafka.sids) == 2)
        await wait_for(lambda: watch.cursor is not None and not watch.cursor.followed)
    assert [dict(record.headers)["ce_type"] for record in kafka.records] == [
        b"twilio.queues.created.v1",
        b"twilio.queues.updated.v1",
    ]
    assert set(twilio.fetched) == {sid(1, "QU")}


async def test_a_row_that_does_not_fit_the_schema_is_a_dead_letter_without_its_content_in_the_reason(
    tmp_path: Path,
) -> None:
    file = tmp_path / "queue.json"
    file.write_text('{"properties": {"max_size": {"type": "integer", "maximum": 1000}}}')
    twilio, kafka = Twilio(queue(1), queue(2, max_size="secret")), Kafka()
    async with running(listing(twilio, kafka, schema=str(file))):
        await kafka.until(lambda: len(kafka.sids) == 2)
    (letter,) = [record for record in kafka.records if record.topic == "t.dead-letters"]
    assert dict(letter.headers)["dlq.errors.message"] == b"Twilio's queues does not fit the schema: max_size (Type)."


# --- pages ------------------------------------------------------------------------------------------------------------
@asynccontextmanager
async def answering(*pages: Mapping[str, Any]) -> AsyncIterator[str]:
    """A server of these pages, one after the other and the last one for ever; gives its address."""
    left = list(pages)

    async def handler(_request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response(left.pop(0) if len(left) > 1 else left[0])

    async with serving(handler) as base:
        yield base


LOOP = {"queues": [queue(1)], "next_page_uri": "/again"}
ABROAD = {"queues": [queue(1)], "meta": {"key": "queues", "next_page_url": "https://evil.example.com/v1/Queues?Page=1"}}


@pytest.mark.parametrize(
    ("page", "why"),
    [
        ({"rows": [queue(1)]}, "an object without a list 'queues' (its lists: rows)"),
        (LOOP, "leads in a circle"),
        (ABROAD, "continues at another host (evil.example.com): not followed"),
    ],
    ids=["other items", "a circle", "another host"],
)
async def test_pages_that_lead_nowhere_stop_the_watch_with_a_sentence(page: Mapping[str, Any], why: str) -> None:
    settings, kafka = WatchSettings.model_validate({**LISTS["queues"], "interval": "20ms"}), Kafka()
    async with answering(page) as base, connected(base) as client:
        watch = Watcher(settings, publication(settings), TwilioSource(client, settings.row), kafka.commit)
        async with running(watch):
            await wait_for(lambda: watch.failing is not None and why in watch.failing.why)
    assert kafka.records == []


# --- lists under parents ----------------------------------------------------------------------------------------------
CONFERENCES: dict[str, Any] = {
    "resource": "list",
    "name": "rooms",
    "path": "/2010-04-01/Accounts/{AccountSid}/Conferences.json",
    "items": "conferences",
    "emit": "changes",
    "version": ["status"],
    "final": {"status": ["completed"]},
}
PARTICIPANTS: dict[str, Any] = {
    "resource": "list",
    "name": "people",
    "parent": "rooms",
    "path": "/2010-04-01/Accounts/{AccountSid}/Conferences/{parent}/Participants.json",
    "items": "participants",
    "key": ["conference_sid", "call_sid"],
}


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"parent": "nothing"}, "parent: 'nothing' is no other watch: name one of watches (rooms)"),
        ({"parent": "people"}, "parent: 'people' is no other watch"),
        ({"path": "/2010-04-01/Participants.json"}, "path: does not hold {parent}: each list is under one"),
        ({"parent": None}, "path: holds {parent}, which nothing stands for"),
    ],
)
def test_a_parent_is_another_list_that_the_path_names(tmp_path: Path, keys: dict[str, Any], sentence: str) -> None:
    child = {name: value for name, value in (PARTICIPANTS | keys).items() if value is not None}
    (problem,) = problems(tmp_path, CONFERENCES, child)
    assert sentence in problem


def test_a_list_under_a_list_that_is_under_one_itself_is_refused(tmp_path: Path) -> None:
    grandchild = {**PARTICIPANTS, "name": "more", "parent": "people"}
    assert any(
        "is under a parent itself" in problem for problem in problems(tmp_path, CONFERENCES, PARTICIPANTS, grandchild)
    )


async def test_what_is_under_parents_is_published_once_and_a_final_parent_is_not_read_for_ever() -> None:
    parent, child = (WatchSettings.model_validate({**keys, "interval": "20ms", "overlap": "1s"}) for keys in FAMILY)
    kafka = Kafka()
    async with Simulator(seed=1) as simulator, connected(simulator.url) as client:
        open_, ended = simulator.fill("conferences", rows=[{"status": "in-progress"}, {"status": "in-progress"}])
        old = simulator.fill("conferences", count=1, first=int(simulator.state.now()) - 86_400, status="completed")[0]
        watch = Watcher(child, publication(child), source_of(child, client, parent), kafka.commit)

        def asked(conference: str) -> int:
            return sum(conference in entry.target for entry in simulator.journal.of("ListParticipant"))

        async with running(watch):
            await wait_for(lambda: watch.cursor is not None)
            # What was created within the second of the start may pass for older.
            begun = simulator.state.now()
            await wait_for(lambda: simulator.state.now() > begun + 1)
            sids = [
                *simulator.fill("participants", count=3, step=0, parent=open_),
                *simulator.fill("participants", count=2, step=0, parent=ended),
            ]
            store = simulator.state.stores[simulator.account_sid].rows_of("conferences")
            store.rows[ended].status, store.rows[ended].updated = "completed", int(simulator.state.now())
            await kafka.until(lambda: len(kafka.sids) >= len(sids))
            await stops(lambda: asked(ended), while_=lambda: asked(open_))
            sids += simulator.fill("participants", count=2, step=0, parent=open_)
            await kafka.until(lambda: len(kafka.sids) >= len(sids))
            polled = asked(open_)
            await wait_for(lambda: asked(open_) > polled + 3)
    assert sorted(name.partition(":")[2] for name in kafka.sids) == sorted(sids)
    assert {name.partition(":")[0] for name in kafka.sids} == {open_, ended}
    assert asked(old) == 0


async def test_the_real_process_publishes_what_is_under_parents_once_though_it_is_killed(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    start = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    watches = [{**keys, "interval": "200ms", "start": start, "overlap": "30s", "limit": 50} for keys in FAMILY]
    async with Simulator(seed=2) as simulator:
        parents = simulator.fill("conferences", count=8, status="in-progress")

        def more(count: int) -> list[str]:
            return [
                f"{parent}:{call}"
                for parent in parents
                for call in simulator.fill("participants", count=count, step=0, parent=parent)
            ]

        names = more(40)
        document = configuration(simulator, kafka=kafka, prefix=prefix, watches=watches, roles=["watch"])
        async with running_process(document, tmp_path) as (process,):
            await wait_for_records(kafka, f"{prefix}.people", 50)
            await process.kill()
            await process.start()
            names += more(5)
            records = await wait_for_records(kafka, f"{prefix}.people", len(names))
            polled = len(simulator.journal.of("ListParticipant"))
            await until(lambda: len(simulator.journal.of("ListParticipant")) > polled + 30)
            records = await read_all(kafka, f"{prefix}.people")
    assert sorted((record.key or b"").decode() for record in records) == sorted(names)


FAMILY = (CONFERENCES, PARTICIPANTS)


async def stops(count: Callable[[], int], *, while_: Callable[[], int]) -> None:
    """Wait until the one does not grow any more while the other does."""
    async with asyncio.timeout(30):
        while True:
            before, other = count(), while_()
            while while_() <= other + 3:  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0.02)
            if count() == before:
                return


# --- a trial ----------------------------------------------------------------------------------------------------------
async def trial(simulator: Simulator, **keys: Any) -> list[str]:
    """What a trial of the watch tells."""
    connection = Connection(account_sid=ACCOUNT_SID, auth_token=AUTH_TOKEN, api_url=simulator.url)
    settings = WatchSettings.model_validate({**QUEUES, **keys})
    return list(told(await try_watch(settings, connection)))


async def test_a_trial_tells_what_it_understood_and_what_it_cannot_check() -> None:
    async with Simulator(seed=1) as simulator:
        (first, *_, last) = simulator.fill("queues", count=3)
        lines = await trial(simulator, start=datetime.now(UTC) - timedelta(days=1))
    assert lines[0] == "queues -> topic queues"
    assert "asked      GET api: /2010-04-01/Accounts/{AccountSid}/Queues.json?PageSize" in lines
    assert f"asked      GET api: /2010-04-01/Accounts/{{AccountSid}}/Queues/{last}.json" in lines
    assert "rows       3 on the first page" in lines
    assert any(line.startswith(f"keys       {last}") and line.endswith(first) for line in lines)
    assert any(line.startswith("cursor     since ") and line.endswith("published at once 3") for line in lines)
    assert {line.split()[1] for line in lines if line.startswith("unchecked")} == {"order:", "ties:", "late", "final:"}
    assert lines[-1] == "Nothing was published."


async def test_a_trial_tells_what_the_rows_disprove() -> None:
    async with Simulator(seed=1) as simulator:
        simulator.fill("queues", rows=[{"extra": {"date_created": format_datetime(NOW)}}, {}])
        simulator.fill("queues", count=2, first=1795521600, account_sid=ACCOUNT_SID)
        wrong = {
            "key": "account_sid",
            "version": ["colour"],
            "order": "newest-first",
            "fetch": "/none/{account_sid}.json",
        }
        lines = await trial(simulator, **wrong)
    told_wrong = [line.removeprefix("wrong").strip() for line in lines if line.startswith("wrong")]
    assert any(line.startswith("key: ") for line in told_wrong)
    assert "version, final: no row has the field colour" in told_wrong
    assert "fetch: the first row could not be read again by its key: correct fetch or key" in told_wrong
    assert lines[-1] == "Nothing was published. Correct what is wrong first."


@pytest.mark.parametrize("output", ["text", "json"])
async def test_the_command_line_tries_the_lists_of_a_file(tmp_path: Path, output: str) -> None:
    async with Simulator(seed=1) as simulator:
        simulator.fill("queues", count=3)
        connection = {"account_sid": ACCOUNT_SID, "auth_token": AUTH_TOKEN, "api_url": simulator.url}
        document = {"connections": {"default": connection}, "watches": [QUEUES]}
        (tmp_path / "connector.yaml").write_text(yaml.safe_dump(document))
        command = ("watches", "try", "connector.yaml", "--format", output)
        done = await asyncio.to_thread(completed, *command, env=os.environ, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    if output == "json":
        assert json.loads(done.stdout)[0]["rows"] == 3
    else:
        assert "rows       3 on the first page" in done.stdout
