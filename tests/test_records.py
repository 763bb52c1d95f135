"""Found rows as records: series of events, other accounts, updates, dead letters, and what they take in memory."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from connector import events
from connector.events import Envelope, Event, Record, Series, encode
from connector.resources import WATCHES
from connector.watcher.advance import Found, Kind
from connector.watcher.records import Publication, identity

ACCOUNT, OTHER = (f"AC{digit * 32}" for digit in "01")
CREATED = datetime(2026, 11, 24, 13, tzinfo=UTC)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
MOMENTS = st.datetimes(timezones=st.timezones(), min_value=datetime(1990, 1, 1), max_value=datetime(2100, 1, 1))  # noqa: DTZ001 - timezones are drawn


@given(st.lists(st.tuples(TEXT, TEXT, MOMENTS), max_size=3), st.sampled_from([None, "00-1-2-01"]), st.data())
def test_a_record_of_a_series_is_the_record_of_its_event(
    drawn: list[tuple[str, str, datetime]], trace: str | None, data: st.DataObject
) -> None:
    envelope: Envelope = data.draw(st.sampled_from(["binary", "structured"]))
    shared: dict[str, Any] = {"source": "/twilio/x", "type": "t", "dataschema": "s"}
    extensions = {"recordedtime": "now", "watch": "w", "traceparent": trace}
    series = Series("topic", **shared, extensions=extensions, envelope=envelope)
    for name, subject, time in drawn:
        event = Event(id=name, subject=subject, time=time, data=b'{"a": 1}', extensions=extensions, **shared)
        assert series.record(name, subject, time, b'{"a": 1}') == encode(event, "topic", subject, envelope=envelope)


PUBLICATION = Publication(name="w", watch=WATCHES["messages"], account_sid=ACCOUNT, prefix="p")


def found(row: Any, kind: Kind = "created", fingerprint: str = "") -> Found:
    return PUBLICATION.found(row, identity(row), CREATED, kind)._replace(fingerprint=fingerprint)


def headers(record: Record) -> dict[str, str]:
    return {name: raw.decode() for name, raw in record.headers}


def test_rows_of_several_accounts_and_kinds_keep_their_order_and_their_headers() -> None:
    updated = "Tue, 24 Nov 2026 14:00:00 +0000"
    rows = [
        found({"sid": "SM1", "account_sid": OTHER}),
        found({"sid": "SM2", "account_sid": ACCOUNT, "date_updated": updated}, "updated", "0a"),
        found({"sid": "SM3", "num_media": "many"}),
        found({"sid": "SM4"}),
        found({"sid": "SM5"}, "updated", "0b"),
    ]
    records, dead_letters = PUBLICATION.records(rows)
    assert dead_letters == 1
    told = [headers(record) for record in records]
    assert [item.get("ce_id") for item in told] == ["SM1", "SM2@0a", None, "SM4", "SM5@0b"]
    sources = [f"/twilio/{account}/messages" for account in (OTHER, ACCOUNT, ACCOUNT, ACCOUNT)]
    assert [item["ce_source"] for item in told if "ce_source" in item] == sources
    times = [item.get("ce_time") for item in told]
    assert times == [at := events.timestamp(CREATED), "2026-11-24T14:00:00Z", None, at, at]
    assert records[2].topic == "p.dead-letters"
    assert records[2].value == b'{"sid":"SM3","num_media":"many"}'


WAITING = """
import resource
from tests.test_records import found
row = {"sid": "SM1", "body": "x" * 500}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
kept = [found(row).row for _ in range(20_000)]
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_rows_that_wait_take_little_more_memory_than_their_text() -> None:
    # Some kinds of buffers keep several times their content; only the process as a whole tells.
    ran = subprocess.run([sys.executable, "-c", WAITING], capture_output=True, text=True, check=True)  # noqa: S603 - ours
    bytes_of_a_row = int(ran.stdout) * 1024 / 20_000
    assert bytes_of_a_row < 3 * len(found({"sid": "SM1", "body": "x" * 500}).row.data)


def test_a_series_is_recorded_when_it_is_made() -> None:
    (record,), _ = PUBLICATION.records([found({"sid": "SM1"})])
    recorded = datetime.fromisoformat(headers(record)["ce_recordedtime"])
    assert abs(datetime.now(UTC) - recorded) < timedelta(minutes=1)
