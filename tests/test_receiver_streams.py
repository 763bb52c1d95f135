"""Event Streams at the public port."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from connector.twilio.signature import Keys, compute
from tests.callback_port import (
    ACCOUNT,
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


@pytest.mark.parametrize(
    "changes",
    [
        {"source": f"/2010-04-01/Accounts/{OTHER}/Messages"},
        {"subject": f"/Accounts/{OTHER}"},
        {"data": {"accountSid": ACCOUNT, "more": [{"account_sid": OTHER}]}},
    ],
)
async def test_every_account_that_an_event_names_must_have_signed(port: Port, changes: dict[str, Any]) -> None:
    event = {"id": "1", "source": "s", "type": "t", "specversion": "1.0", "data": {"accountSid": ACCOUNT}}
    assert (await port.json(json.dumps(event).encode()))[0] == 204
    for token in (TOKEN, OTHER_TOKEN):
        assert (await port.json(json.dumps(event | changes).encode(), token=token))[0] == 403
    assert len(port.kafka.records) == 1


@pytest.mark.parametrize(
    "body",
    [
        b'{"id":"1","source":"s","type":"t","specversion":"1.0","data":{"accountSid":"%b","accountSid":"%b"}}',
        b'{"id":"1","source":"s","type":"t","specversion":"1.0","data":{"accountSid":"%b","account_sid":"%b"}}',
        b'[{"id":"1","source":"s","type":"t","specversion":"1.0","subject":"%b","subject":"%b"}]',
    ],
)
async def test_two_names_of_one_field_are_a_bad_request_and_kept(port: Port, body: bytes) -> None:
    named = body % (ACCOUNT.encode(), OTHER.encode())
    assert (await port.json(named))[0] == 400
    assert [(record.topic, record.value) for record in port.kafka.records] == [("twilio.dead-letters", named)]


@pytest.mark.parametrize("second", ["0" * 64, "", "{digest}"])
async def test_a_second_hash_in_the_url_must_be_the_bodys_too(port: Port, second: str) -> None:
    body = b'{"id":"1","source":"s","type":"t","specversion":"1.0"}'
    digest = hashlib.sha256(body).hexdigest()
    for one, other in ((digest, second.format(digest=digest)), (second.format(digest=digest), digest)):
        path = f"/callbacks/events?bodySHA256={one}&%62odySHA256={other}"
        signed = compute(PUBLIC + path, (), TOKEN)
        status, _, _ = await port.call(path, body=body, Content_Type="application/json", X_Twilio_Signature=signed)
        assert status == (204 if one == other else 403)


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
