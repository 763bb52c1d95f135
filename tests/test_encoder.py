"""A form's record made in one pass is the record that model and event make."""

import datetime as dt
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.errors import InvalidRecord
from connector.events import encode, timestamp
from connector.receiver import form
from connector.receiver.form import Encoder, Form, event, present
from connector.resources import CALLBACKS
from connector.resources.models import camel
from connector.resources.rows import Bundle, Callback

FORMS = [row for row in CALLBACKS.values() if not row.cloudevents]
MOMENT = "2026-11-24T12:00:00.005000Z"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
# What fields of other types meet: numbers, times in Twilio's two ways, nothing, and what does not fit.
VALUES = TEXT | st.sampled_from(["", "0", "-1", "3.5", "1e3", " 7", "Tue, 24 Nov 2026 13:00:00 +0000", "2026-11-24"])


def _names(row: Callback) -> list[str]:
    declared = [camel(info.alias or name) for name, info in row.bundle.model_fields.items()]
    return [*declared, "NewField", "MediaUrl0", "SipHeader_X-A", "from_", "message_sid", "Bundle", ""]


@st.composite
def forms(draw: st.DrawFn, row: Callback) -> list[tuple[str, str]]:
    """Forms of a kind: usually whole, in any order, with repetitions and fields that nobody knows."""
    pairs = draw(st.lists(st.tuples(st.sampled_from(_names(row)) | TEXT, VALUES), max_size=12))
    if draw(st.booleans()):
        pairs += [(camel(name), draw(VALUES)) for name, info in row.bundle.model_fields.items() if info.is_required()]
    return draw(st.permutations(pairs))


def the_long_way(row: Callback, pairs: list[tuple[str, str]], query: str, token: str | None) -> Any:
    try:
        made = event(row, Form.of(pairs), recorded=dt.datetime.fromisoformat(MOMENT), query=query, token=token)
    except InvalidRecord as error:
        return str(error)
    return encode(made, "topic", made.subject)


def the_short_way(row: Callback, pairs: list[tuple[str, str]], query: str, token: str | None) -> Any:
    try:
        return Encoder.of(row, "topic", "binary").record(Form.of(pairs), query=query, token=token)
    except InvalidRecord as error:
        return str(error)


@pytest.mark.parametrize("row", FORMS, ids=lambda row: row.kind)
@given(data=st.data())
def test_both_ways_make_the_same_record_byte_for_byte(row: Callback, data: st.DataObject) -> None:
    pairs = data.draw(forms(row))
    query = data.draw(st.sampled_from(["", "command=c", "command=a%2F0&correlation=o%20%C3%A9", "other=1"]))
    token = data.draw(st.sampled_from([None, "token-1", "ä"]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(form, "present", lambda: MOMENT)
        patch.setattr(form, "now", lambda: dt.datetime.fromisoformat(MOMENT))
        assert the_short_way(row, pairs, query, token) == the_long_way(row, pairs, query, token)


@pytest.mark.parametrize("row", FORMS, ids=lambda row: row.kind)
def test_every_kind_of_form_takes_the_short_way(row: Callback) -> None:
    assert Encoder.of(row, "topic", "binary").is_plain
    assert not Encoder.of(row, "topic", "structured").is_plain


def test_a_bundle_with_a_value_of_its_own_takes_the_long_way() -> None:
    class Own(Bundle):
        toy_sid: str

        def json_bytes(self) -> bytes:
            return b'{"own": true}'

    row = Callback("toy", "toys", "twilio.toy.v1", Own, "toy_sid", ("toy_sid",))
    record = Encoder.of(row, "topic", "binary").record(Form.of([("ToySid", "T1")]), query="", token=None)
    assert orjson.loads(record.value or b"") == {"own": True}


def test_names_that_anybody_may_send_are_not_remembered_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(form, "MAX_NAMES", 1)
    names = form._Names()
    assert names["L" * 65] == "l" * 65
    assert not names
    assert [names["OneField"], names["OtherField"]] == ["one_field", "other_field"]
    assert len(names) == 1


def test_the_present_moment_is_written_as_a_timestamp_in_milliseconds() -> None:
    before = dt.datetime.now(dt.UTC)
    written = dt.datetime.fromisoformat(present())
    assert abs(written - before) < dt.timedelta(seconds=5)
    assert written.microsecond % 1000 == 0
    assert timestamp(written) == timestamp(dt.datetime.fromisoformat(timestamp(written)))
