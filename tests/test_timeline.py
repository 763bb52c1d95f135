"""Records joined into timelines, conditions on them, and what is looked for, as values."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import orjson
import pytest

from connector.conditions import Condition
from connector.console.dead_letters import groups as letter_groups
from connector.console.events import choices, groups
from connector.console.search import Query, parse
from connector.console.timelines import Timelines
from connector.dead_letters.reading import as_json, certain_failure, read
from connector.errors import InvalidRecord
from connector.events import Position
from connector.timeline.model import Entry, Joiner, holds

SID = "SM" + "0a" * 16
ACCOUNT = "AC" + "1" * 32
RESULT = {"command": {"id": "c-1", "name": "send-message"}, "outcome": "succeeded", "error": None}
TOPICS = ("twilio.messages", "twilio.dead-letters")


@dataclass
class Given:
    """A record as a consumer gets it."""

    topic: str
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = field(default_factory=list)
    key: bytes | None = None
    partition: int = 3
    offset: int = 7
    timestamp: int = 1_795_000_000_000


def event(name: str, data: Any, *, subject: str = SID, **extensions: str) -> Given:
    attributes = {"specversion": "1.0", "id": "e", "source": f"/twilio/{ACCOUNT}/messages", "type": "twilio.t.v1"}
    named = attributes | {"subject": subject} | extensions
    headers = [(f"ce_{key}", text.encode()) for key, text in named.items()]
    return Given(f"twilio.{name}", orjson.dumps(data), headers, subject.encode())


def joined(*records: Given) -> list[Entry]:
    joiner = Joiner("twilio", {ACCOUNT: "main"})
    return [joiner.entry(record) for record in records]


def test_a_command_its_result_and_every_event_of_what_it_made_are_one_timeline() -> None:
    command = Given("twilio.commands.send-message", b'{"to": "+15557654321"}', [("id", b"c-1")])
    result = event("results.send-message", RESULT, causationid="c-1")
    status = event("message-status", {"message_status": "delivered"})
    watched = event("messages", {"status": "delivered", "sid": SID})
    assert {entry.timeline for entry in joined(command, result, status, watched)} == {"c-1"}


def test_a_command_that_only_asks_does_not_take_a_message_from_the_command_that_made_it() -> None:
    made = event("results.send-message", RESULT, causationid="c-1")
    asked = event("results.get", {**RESULT, "command": {"id": "g-1", "name": "get"}}, causationid="g-1")
    status = event("message-status", {"message_status": "delivered"})
    assert [entry.timeline for entry in joined(made, asked, status)] == ["c-1", "g-1", "c-1"]
    assert [entry.timeline for entry in joined(asked, status)] == ["g-1", SID]


@pytest.mark.parametrize(
    ("name", "wanted", "holding"),
    [
        ("correlation", "order-7", True),
        ("correlation", "order-8", False),
        ("ends", "4321", True),
        ("ends", "…4321", True),
        ("ends", "15557654321", True),
        ("ends", "4322", False),
        ("code", "30003", True),
        ("connection", "main", True),
        ("watch", "inbox", True),
        ("watch", "in*", True),
        ("topic", "message-status", True),
        ("state", "undelivered", True),
    ],
)
def test_conditions_on_an_event(name: str, wanted: str, *, holding: bool) -> None:
    data = {"message_status": "undelivered", "error_code": 30003, "from": "+15551234567", "to": "+15557654321"}
    (entry,) = joined(event("message-status", data, correlationid="order-7", watch="inbox"))
    assert holds(Condition(name, wanted), entry) is holding
    assert "7654321" not in repr(entry.shortened())


# --- what is looked for -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (SID, "sid"),
        (f" {SID} ", "sid"),
        ("messages/3/7", "position"),
        ("twilio.messages/3/7", "position"),
        ("dead-letter/3/7", "position"),
        ("no-such-topic/3/7", "id"),
        ("4321", "digits"),
        ("+1 (555) 765-4321", "digits"),
        ("order-7", "id"),
        ("SM0a0a…0a0a0a", "id"),
        ("state=failed code=30003", "conditions"),
        ("state='in doubt'", "conditions"),
        ("color=red", "id"),
    ],
)
def test_what_is_typed_is_understood(text: str, kind: str) -> None:
    assert parse(text, "twilio", TOPICS).kind == kind


@pytest.mark.parametrize("text", ["", "abc", "***…***", "x" * 251, "abcd\ud800"])
def test_what_cannot_be_looked_for_is_refused_with_what_can(text: str) -> None:
    with pytest.raises(InvalidRecord, match="topic/partition/offset"):
        parse(text, "twilio", TOPICS)


def test_a_position_names_the_whole_topic() -> None:
    assert parse("messages/3/7", "twilio", TOPICS).position == Position("twilio.messages", 3, 7)
    assert parse("dead-letter/3/7", "twilio", TOPICS).position == Position("twilio.dead-letters", 3, 7)


TYPED = (
    SID,
    "c-1",
    "order-7",
    "4321",
    "+1 555 765 4321",
    "ord…7",
    'a "quoted" é id',
    "state=sent ends=4321",
    "watch=w",
)


@pytest.mark.parametrize("text", TYPED)
def test_no_record_that_fits_is_without_a_needle(text: str) -> None:
    query = parse(text, "twilio", TOPICS, is_name=text == "c-1")
    data = {"message_status": "sent", "to": "+15557654321", "command": {"id": "c-1"}}
    record = event("message-status", data, correlationid="order-7", watch="w")
    if "quoted" in text:
        record = event("message-status", data, correlationid=text)
    (entry,) = joined(record)
    assert query.fits(entry)
    raw = b"\n".join([record.value or b"", record.key or b"", *(value or b"" for _, value in record.headers)])
    assert any(needle in raw for needle in query.needles())


def test_ids_of_sixteen_bytes_and_of_numbers_are_found_as_they_are_shown() -> None:
    raw = UUID("12345678-9abc-4def-8123-456789abcdef").bytes
    assert raw in Query("id", str(UUID(bytes=raw))).needles()
    assert b"\x00\x00\x00\xff" in Query("id", "000000ff").needles()


# --- what a search has found, and lists -------------------------------------------------------------------------------
def test_what_a_search_finds_completes_a_timeline_and_takes_in_that_of_its_sid() -> None:
    timelines = Timelines()
    status, watched = joined(
        event("message-status", {"message_status": "delivered"}),
        replace(event("messages", {"status": "delivered"}), offset=8),
    )
    timelines.add(watched)
    result, again = joined(
        replace(event("results.send-message", RESULT, causationid="c-1"), offset=6, timestamp=1_794_999_999_000),
        event("message-status", {"message_status": "delivered"}, causationid="c-1"),
    )
    assert (watched.timeline, again.position) == (SID, status.position)
    timelines.complete("c-1", [SID], [result, again], is_over=True)
    timelines.complete("c-1", [SID], [result, again], is_over=True)
    found = timelines.find("c-1")
    assert timelines.find(SID) is None
    assert found is not None
    assert [entry.name for entry in found.entries] == ["send-message", "message-status", "messages"]
    assert (found.state(result.at), found.is_whole) == ("succeeded", True)


def test_what_is_read_before_its_result_belongs_to_the_command_as_well() -> None:
    watched, result = joined(
        event("messages", {"status": "sent"}), event("results.send-message", {}, causationid="c-1")
    )
    timelines = Timelines()
    timelines.add(watched)
    assert timelines.find(SID) is not None
    timelines.add(result)
    assert timelines.find(SID) is None
    found = timelines.find("c-1")
    assert found is not None
    assert {(entry.name, entry.timeline) for entry in found.entries} == {("messages", "c-1"), ("send-message", "c-1")}


def test_a_rejected_command_was_last_heard_of_as_rejected_and_not_of_where_it_failed() -> None:
    reason = [("dlq.errors.topic", b"twilio.commands.get"), ("dlq.errors.stage", b"command"), ("id", b"c-1")]
    result, letter = joined(
        event("results.get", {"outcome": "rejected"}, causationid="c-1"),
        Given("twilio.dead-letters", b"{}", reason, offset=9),
    )
    timelines = Timelines()
    for entry in (result, letter):
        timelines.add(entry)
    found = timelines.find("c-1")
    assert found is not None
    assert (len(found.entries), found.last) == (2, "rejected")


def test_what_a_message_s_error_says_is_told_with_its_code() -> None:
    data = {"status": "undelivered", "error_code": 30003, "error_message": "Unreachable, +15557654321 is off"}
    (entry,) = joined(event("messages", data))
    assert entry.detail == "30003 Unreachable, …4321 is off"
    assert groups([entry])[0]["error"] == "Unreachable, …4321 is off"


def test_errors_are_grouped_by_their_code_with_the_address_of_twilio_s_page() -> None:
    undelivered = {"message_status": "undelivered", "error_code": 30003}
    refused = {**RESULT, "outcome": "failed", "error": {"code": 21610, "message": "Unsubscribed +15557654321"}}
    entries = joined(
        replace(event("message-status", undelivered), timestamp=1_795_000_001_000),
        event("message-status", undelivered),
        event("results.send-message", refused, causationid="c-1"),
        event("messages", {"status": "delivered"}),
    )
    first, second = groups(entries)
    assert (first["code"], first["count"], first["page"]) == (
        "30003",
        2,
        "https://www.twilio.com/docs/api/errors/30003",
    )
    assert first["first"] < first["last"]
    assert (second["code"], second["error"]) == ("21610", "Unsubscribed …4321")
    assert choices(entries, "state") == {"delivered": 1, "failed": 1, "undelivered": 2}


def test_dead_letters_of_one_reason_are_one_group() -> None:
    def letter(offset: int, message: str) -> Given:
        reasons = {"topic": "twilio.commands.send-message", "stage": "command", "message": message}
        headers = [(f"dlq.errors.{name}", text.encode()) for name, text in reasons.items()]
        return Given("twilio.dead-letters", b"{}", headers, offset=offset, timestamp=1_795_000_000_000 + offset)

    records = [letter(1, "to is missing"), letter(2, "boddy is unknown"), letter(3, "to is missing")]
    rows = [as_json(read(record), None, replayable=True) for record in records]
    rows[1]["verdict"] = {"decision": "discarded"}
    first, second = letter_groups(rows)
    assert (first["message"], first["open"], first["total"]) == ("to is missing", 2, 2)
    assert (first["last"] - first["first"], second["open"]) == (2, 0)
    assert "to is missing" in certain_failure(records[0], "twilio")
    good = b'{"to": "+15557654321", "from": "+15551234567", "body": "x"}'
    assert certain_failure(replace(records[0], value=good), "twilio") == ""
