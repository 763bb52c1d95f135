"""Event Streams at the public port."""

import hashlib
import json
from pathlib import Path

import pytest

from connector.twilio.signature import Keys, compute
from tests.callback_port import (
    FORM_TYPE,
    OTHER,
    OTHER_TOKEN,
    PUBLIC,
    TOKEN,
    Port,
    opened,
)

SAMPLES = Path(__file__).parent / "contract" / "callbacks"
STREAM_ACCOUNT = "ACa42104b5c0081d28f69cc86620eae712"
STREAM_KEYS = {STREAM_ACCOUNT: Keys.of([TOKEN]), OTHER: Keys.of([OTHER_TOKEN])}


@pytest.mark.parametrize(("sample", "count"), [("single", 1), ("batch", 2)])
async def test_events_are_stored_untouched_each_by_its_id(sample: str, count: int) -> None:
    body = (SAMPLES / f"event_streams_{sample}.json").read_bytes()
    async with opened(keys=STREAM_KEYS) as port:
        status, _, _ = await port.json(body)
    assert status == 204
    sent = json.loads(body)
    sent = sent if isinstance(sent, list) else [sent]
    assert len(port.kafka.records) == count
    for record, event in zip(port.kafka.records, sent, strict=True):
        assert record.topic == "twilio.events"
        assert record.key == event["id"].encode()
        assert json.loads(record.value or b"") == event
        assert dict(record.headers)["ce_type"] == event["type"].encode()


async def test_events_of_one_account_signed_by_another_are_refused() -> None:
    body = (SAMPLES / "event_streams_batch.json").read_bytes()
    async with opened(keys=STREAM_KEYS) as port:
        assert (await port.json(body, token=OTHER_TOKEN))[0] == 403
    async with opened(keys={OTHER: Keys.of([OTHER_TOKEN])}) as port:
        assert (await port.json(body, token=OTHER_TOKEN))[0] == 403


async def test_events_that_name_no_account_are_accepted_from_any_of_ours(port: Port) -> None:
    body = b'{"id":"1","source":"s","type":"t","specversion":"1.0","data":{}}'
    assert (await port.json(body, token=OTHER_TOKEN))[0] == 204
    assert (await port.json(body, token="nobodys"))[0] == 403


async def test_events_that_cannot_be_read_are_refused_only_to_those_who_signed(port: Port) -> None:
    assert (await port.json(b'{"id": 1'))[0] == 400
    assert (await port.json(b'[{"id": "1"}]'))[0] == 400
    assert (await port.json(b'{"id": 1', token="nobodys"))[0] == 403
    assert [record.topic for record in port.kafka.records] == ["twilio.dead-letters"] * 2


async def test_a_json_body_must_match_its_hash(port: Port) -> None:
    body = b'{"id":"1","source":"s","type":"t","specversion":"1.0"}'
    path = f"/callbacks/events?bodySHA256={hashlib.sha256(b'other').hexdigest()}"
    signed = compute(PUBLIC + path, (), TOKEN)
    assert (await port.call(path, body=body, Content_Type="application/json", X_Twilio_Signature=signed))[0] == 403


@pytest.mark.parametrize("content_type", ["application/json", FORM_TYPE, "text/plain", ""])
async def test_events_without_their_hash_in_the_url_are_refused(port: Port, content_type: str) -> None:
    path = "/callbacks/events"
    signed = compute(PUBLIC + path, (), TOKEN)
    status, _, _ = await port.call(path, body=b"{}", Content_Type=content_type, X_Twilio_Signature=signed)
    assert status == 415
