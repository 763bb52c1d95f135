"""What the console shows and what it keeps to itself, as values."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector import privacy
from connector.console.rates import BAR_SECONDS, SECONDS, Rates
from connector.console.timelines import Timelines
from connector.dead_letters import reading as letters
from connector.errors import InvalidRecord
from connector.events import Position
from connector.executor.command import command_of
from connector.resources import COMMANDS
from connector.timeline.model import MOST_ENTRIES, Entry

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SID = "SM" + "0a" * 16
SECRET = "the quick brown fox"


@dataclass
class Given:
    """A record as a consumer gets it."""

    value: bytes | None = b'{"to": "+15557654321"}'
    headers: Sequence[tuple[str, bytes | None]] = field(default_factory=list)
    key: bytes | None = b"k"
    topic: str = "twilio.dead-letters"
    partition: int = 3
    offset: int = 7
    timestamp: int = 1_795_000_000_000


# --- privacy ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("sid", SID, SID),
        ("status", "delivered", "delivered"),
        ("message_status", "undelivered", "undelivered"),
        ("date_created", "2026-11-24T12:00:00Z", "2026-11-24T12:00:00Z"),
        ("price", "-0.00750", "-0.00750"),
        ("to", "+15557654321", "…4321"),
        ("from", "whatsapp:+15557654321", "…4321"),
        ("uri", f"/2010-04-01/Accounts/AC{'0' * 32}/Messages/{SID}.json", None),
        ("body", SECRET, "[19 characters]"),
        ("status", SECRET, "[19 characters]"),
        ("friendly_name", "Alice", "[5 characters]"),
        ("status_callback", "https://user:pass@hooks.example.com/x?token=abc", "https://hooks.example.com/x?…"),
        ("num_segments", 2, 2),
        ("a_field_of_tomorrow", "whatever", "[8 characters]"),
    ],
)
def test_of_a_field_only_what_is_known_to_be_harmless_is_shown(name: str, value: Any, shown: Any) -> None:
    assert privacy.masked({name: value}) == {name: value if shown is None else shown}


@given(st.text(min_size=1), st.sampled_from(["body", "content_variables", "twiml", "caller_name", "new_field"]))
def test_no_text_gets_through_whatever_it_is(text: str, name: str) -> None:
    shown = privacy.masked({name: text})[name]
    is_known = privacy.SID.fullmatch(text) or privacy.MOMENT.fullmatch(text) or privacy.PATH.fullmatch(text)
    assert is_known or shown.startswith(("[", "…", "http"))


@given(st.from_regex(r"\+[1-9][0-9]{9,13}", fullmatch=True), st.text(alphabet=" .,:;()'", max_size=5))
def test_no_full_number_stays_in_a_sentence(number: str, around: str) -> None:
    if number != privacy.EXAMPLE:
        assert number[1:] not in privacy.sentence(f"The number {around}{number}{around} is not valid")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"The requested resource /2010-04-01/Accounts/{SID}/Calls.json was not found", None),
        ("The requested resource /2010-04-01/Accounts/some-words.json was not found", "The requested resource /… was"),
        ("Url 'https://u:p@example.com/a/+15557654321?b=c' is not valid", "Url 'https://example.com/a/…4321?…' is"),
        ("See https://example.com/a%2F%2B15557654321 and/or ask.", "See https://example.com/a/…4321 and/or ask."),
    ],
)
def test_paths_and_addresses_in_a_sentence_are_shown_as_far_as_they_are_harmless(text: str, shown: str | None) -> None:
    assert privacy.sentence(text).startswith(shown or text)


def test_a_sid_stays_in_a_sentence() -> None:
    assert privacy.sentence(f"Message {SID} was not found (20404)") == f"Message {SID} was not found (20404)"


def test_of_a_signature_only_the_beginning_is_shown() -> None:
    assert privacy.signature("abcdefghijklmnopqrstuvwxyz0=") == "abcd…"


# --- rates ------------------------------------------------------------------------------------------------------------
@given(st.lists(st.integers(min_value=1_000_000, max_value=1_002_000), max_size=300))
def test_every_record_of_the_last_five_minutes_is_counted_once(seconds: list[int]) -> None:
    rates, now = Rates(["x"]), 1_000_000
    for second in sorted(seconds):
        now = max(now, second)
        rates.count("x", second, now=now)
    counts = Counter(seconds)
    expected = sum(number for second, number in counts.items() if now - SECONDS < second <= now)
    assert sum(rates.bars("x", now=now)) == expected
    assert len(rates.bars("x", now=now)) == SECONDS // BAR_SECONDS


def test_the_rate_is_that_of_the_seconds_that_are_over() -> None:
    rates = Rates(["x"])
    for second in range(90, 101):
        rates.count("x", second, now=second, records=5)
    assert rates.per_second("x", now=100) == 5.0
    assert rates.per_second("x", now=200) == 0.0


# --- timelines --------------------------------------------------------------------------------------------------------
def entry(kind: str, seconds: float = 0.0, *, state: str = "", timeline: str = "c") -> Entry:
    position = Position("t", 0, int(seconds * 1000))
    return Entry(NOW + timedelta(seconds=seconds), kind, "send-message", timeline, position, state=state)


def test_a_command_is_in_doubt_when_its_attempt_has_had_no_answer_for_long() -> None:
    timelines = Timelines()
    timelines.add(entry("command"))
    timeline = timelines.find("c")
    assert timeline is not None
    assert timeline.state(NOW) == "waiting"
    timelines.add(entry("attempt", 0.1))
    assert timeline.state(NOW + timedelta(seconds=1)) == "in flight"
    assert timeline.state(NOW + timedelta(seconds=60)) == "in doubt"
    timelines.add(entry("result", 61, state="succeeded"))
    assert timeline.state(NOW + timedelta(seconds=62)) == "succeeded"


@given(st.lists(st.integers(0, 30), max_size=300))
def test_the_latest_timelines_are_held_and_no_more(names: list[int]) -> None:
    timelines = Timelines(timelines=10)
    for number, name in enumerate(names):
        timelines.add(entry("command", number, timeline=str(name)))
    latest = list(dict.fromkeys(reversed(names)))[:10]
    assert [timeline.id for timeline in timelines.commands()] == [str(name) for name in latest]


def test_a_timeline_without_end_keeps_its_first_and_its_last_entries() -> None:
    timelines = Timelines()
    for number in range(MOST_ENTRIES + 20):
        timelines.add(entry("event", number, state=str(number)))
    timeline = timelines.find("c")
    assert timeline is not None
    assert (timeline.entries[0].state, timeline.entries[-1].state) == ("0", str(MOST_ENTRIES + 19))
    assert (len(timeline.entries), timeline.dropped, timeline.last) == (MOST_ENTRIES, 20, str(MOST_ENTRIES + 19))


# --- dead letters -----------------------------------------------------------------------------------------------------
TOPICS = {f"twilio.commands.{name}" for name in COMMANDS}
LETTER = Given(
    headers=[
        ("id", b"c-1"),
        ("x", b"y"),
        ("dlq.errors.topic", b"twilio.commands.send-message"),
        ("dlq.errors.message", b"send-message: boddy is unknown, did you mean body?"),
        ("dlq.errors.stage", b"command"),
    ]
)


def named(record: Any) -> dict[str, bytes]:
    return dict(record.headers)


def test_a_replay_keeps_key_bytes_and_headers_and_counts() -> None:
    again = letters.replay(LETTER, TOPICS)
    assert (again.topic, again.key, again.value) == ("twilio.commands.send-message", LETTER.key, LETTER.value)
    assert named(again) == {"id": b"c-1", "x": b"y", "dlq.replay.count": b"1"}
    twice = letters.replay(Given(headers=[*LETTER.headers, ("dlq.replay.count", b"1")]), TOPICS)
    assert named(twice)["dlq.replay.count"] == b"2"


@pytest.mark.parametrize(
    ("written", "partition"),
    [(b"2", 2), (b"5", 5), (b"6", None), (b"-1", None), (b"", None), ("٣".encode(), None), (b"9" * 5000, None)],
)
def test_a_replay_goes_where_the_letter_came_from_unless_there_is_no_such_partition(
    written: bytes, partition: int | None
) -> None:
    came = Given(headers=[*LETTER.headers, ("dlq.errors.partition", written)])
    assert letters.replay(came, TOPICS, partitions=6).partition == partition


@pytest.mark.parametrize("count", [b"9" * 5000, "٣".encode(), b"-1", b"x", b""])
def test_a_count_of_replays_that_is_none_counts_from_the_start(count: bytes) -> None:
    odd = Given(headers=[*LETTER.headers, ("dlq.replay.count", count)])
    assert named(letters.replay(odd, TOPICS))["dlq.replay.count"] == b"1"


def test_an_edited_replay_differs_in_its_value_alone() -> None:
    again = letters.replay(LETTER, TOPICS, value=b"{}")
    assert again.value == b"{}"
    assert again.headers == letters.replay(LETTER, TOPICS).headers


def test_replaying_a_letter_without_an_id_twice_is_recognised() -> None:
    anonymous = Given(headers=[header for header in LETTER.headers if header[0] != "id"])
    assert named(letters.replay(anonymous, TOPICS))["id"] == b"dead-letter/3/7"


def test_a_replay_runs_under_an_id_of_its_own_and_keeps_the_correlation() -> None:
    again = letters.replay(LETTER, TOPICS)
    command = command_of(
        topic=again.topic,
        partition=0,
        offset=1,
        key=again.key,
        value=again.value,
        headers=again.headers,
        milliseconds=0,
        command="send-message",
    )
    assert command.id == letters.id_of_replay(again) == "c-1#replay-1"
    assert command.explicit
    assert command.correlation_id == "c-1"


@pytest.mark.parametrize("topic", [b"", b"twilio.journal", b"somebody.elses", b"twilio.messages"])
def test_only_what_came_from_a_command_topic_is_replayed(topic: bytes) -> None:
    with pytest.raises(InvalidRecord, match="rewind the watch"):
        letters.replay(Given(headers=[("dlq.errors.topic", topic)]), TOPICS)


def test_a_letter_is_listed_without_its_content() -> None:
    shown = letters.as_json(letters.read(LETTER), None, replayable=True)
    assert "+15557654321" not in str(shown)
    assert shown["size"] == len(LETTER.value or b"")
    assert letters.content(LETTER)["value"] == '{"to": "+15557654321"}'


def test_content_that_is_no_text_is_shown_as_base64() -> None:
    assert letters.content(Given(value=b"\xff\x00"))["encoding"] == "base64"
