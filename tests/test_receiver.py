"""The public port over real sockets: what is stored and when it is answered."""

import asyncio
import json
from collections.abc import AsyncIterator
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
import pytest
from structlog.testing import capture_logs
from twilio.request_validator import RequestValidator

from connector.errors import Unavailable
from connector.receiver.receiver import Receiver
from connector.resources import CALLBACKS
from connector.resources.rows import Bundle, Callback
from connector.simulator import Simulator
from connector.twilio.signature import Keys, Secret, compute
from tests.callback_port import (
    ACCOUNT,
    DEADLINE_SECONDS,
    FORM_TYPE,
    PATH,
    PUBLIC,
    STATUS,
    TOKEN,
    Kafka,
    Port,
    counted,
    opened,
)


# --- stored ---
async def test_a_signed_form_is_stored_and_answered_without_a_body(port: Port) -> None:
    before = counted("message-status", "stored")
    status, text, headers = await port.form()
    assert (status, text) == (204, "")
    assert "Content-Type" not in headers
    (record,) = port.kafka.records
    assert (record.topic, record.key) == ("twilio.message-status", b"SM1")
    data = json.loads(record.value or b"")
    assert (data["message_status"], data["body"]) == ("sent", "grüße 🎉 +%&")
    named = dict(record.headers)
    assert named["ce_type"] == b"twilio.message.status.v1"
    assert named["ce_twilioidempotencytoken"] == b"token-1"
    assert len(named["ce_id"]) == 32
    assert named["ce_source"] == f"/twilio/{ACCOUNT}/messages".encode()
    assert named["ce_subject"] == b"SM1"
    assert named["ce_causationid"] == named["ce_correlationid"] == b"cmd-1"
    assert counted("message-status", "stored") == before + 1


@pytest.mark.parametrize(
    "kind", ["message-status", "call-status", "recording-status", "amd-status", "transcription-status"]
)
async def test_every_kind_has_its_route_and_topic(port: Port, kind: str) -> None:
    sids = dict.fromkeys(("MessageSid", "CallSid", "RecordingSid", "TranscriptionSid"), "X1")
    rest = {"MessageStatus": "sent", "CallStatus": "ringing", "RecordingStatus": "completed", "AnsweredBy": "human"}
    fields = {"AccountSid": ACCOUNT, **sids, **rest, "TranscriptionStatus": "completed"}
    status, _, _ = await port.form(fields, path=f"/callbacks/{kind}")
    assert status == 204
    assert port.kafka.records[0].topic == f"twilio.{kind}"


async def test_an_inbound_message_is_answered_with_empty_twiml(port: Port) -> None:
    fields = {"MessageSid": "SM2", "AccountSid": ACCOUNT, "Body": "hi", "From": "+1", "To": "+2", "NumMedia": "0"}
    status, text, headers = await port.form(fields, path="/callbacks/inbound-message")
    assert status == 200
    assert headers["Content-Type"].startswith("text/xml")
    assert text == '<?xml version="1.0" encoding="UTF-8"?><Response/>'
    assert port.kafka.records[0].topic == "twilio.inbound-messages"


async def test_a_callback_by_get_is_stored_without_our_own_parameters(port: Port) -> None:
    path = f"{PATH}&{urlencode(STATUS)}"
    status, _, _ = await port.call(path, method="GET", X_Twilio_Signature=compute(PUBLIC + path, (), TOKEN))
    assert status == 204
    data = json.loads(port.kafka.records[0].value or b"")
    assert data["message_status"] == "sent"
    assert "command" not in data
    assert dict(port.kafka.records[0].headers)["ce_causationid"] == b"cmd-1"


async def test_one_callback_is_one_event_whatever_token_it_bears(port: Port) -> None:
    for token in ("token-1", "token-2", "ä", ""):
        assert (await port.form(I_Twilio_Idempotency_Token=token))[0] == 204
    assert len({dict(record.headers)["ce_id"] for record in port.kafka.records}) == 1
    carried = [dict(record.headers).get("ce_twilioidempotencytoken") for record in port.kafka.records]
    assert carried == [b"token-1", b"token-2", None, None]
    assert (await port.form({**STATUS, "MessageStatus": "failed"}))[0] == 204
    assert dict(port.kafka.records[-1].headers)["ce_id"] != dict(port.kafka.records[0].headers)["ce_id"]


SIP = {**STATUS, "Caller": "sip:+15551234567@203.0.113.7:5060", "CallerName": "O'Hara (!*~)"}


@pytest.mark.parametrize("sent", ["", "'()*!~"])
@pytest.mark.parametrize("signed", ["", ":@", "'()*!~", ":@'()*!~"])
async def test_a_get_may_be_signed_before_or_after_its_query_is_escaped(port: Port, sent: str, signed: str) -> None:
    def path(safe: str) -> str:
        return f"{PATH}&{urlencode(SIP, safe=safe, quote_via=quote)}"

    signature = compute(PUBLIC + path(signed), (), TOKEN)
    assert (await port.call(path(sent), method="GET", X_Twilio_Signature=signature))[0] == 204
    assert json.loads(port.kafka.records[0].value or b"")["caller_name"] == "O'Hara (!*~)"
    other = {**SIP, "CallerName": "O'Hara (!*~"}
    forged = f"{PATH}&{urlencode(other, safe=sent, quote_via=quote)}"
    assert (await port.call(forged, method="GET", X_Twilio_Signature=signature))[0] == 403


async def test_our_connection_overrides_may_be_signed_or_not() -> None:
    fields = "".join(name + value for name, value in sorted(STATUS.items()))
    async with opened(overrides="rc=3&rp=all") as port:
        for fragment, status in (("", 204), ("#rc=3&rp=all", 204), ("#rc=3", 403), ("rc=3&rp=all", 403)):
            signature = Secret(TOKEN, "sha1").sign(f"{PUBLIC}{PATH}{fragment}{fields}").decode()
            assert (await port.form(X_Twilio_Signature=signature))[0] == status


async def test_the_url_is_checked_as_it_was_sent(port: Port) -> None:
    path = "/callbacks/message-status?a=%7eb%2fc&d=it%27s&e=%20+&f=&g"
    assert (await port.form(path=path))[0] == 204


async def test_the_official_sdk_signs_what_is_stored(port: Port) -> None:
    signature = RequestValidator(TOKEN).compute_signature(PUBLIC + PATH, STATUS)
    assert (await port.form(X_Twilio_Signature=signature))[0] == 204


async def test_a_structured_envelope_is_one_document() -> None:
    async with opened(envelope="structured") as port:
        await port.form()
        document = json.loads(port.kafka.records[0].value or b"")
    assert document["type"] == "twilio.message.status.v1"
    assert document["data"]["message_status"] == "sent"


@pytest.mark.parametrize("path", ["/callbacks/message-status", "/a/b/callbacks/message-status"])
async def test_a_path_in_front_of_ours_may_come_along_or_not(path: str) -> None:
    async with opened(public_url="https://hooks.example.com/a/b/") as port:
        signed = compute("https://hooks.example.com/a/b/callbacks/message-status", STATUS.items(), TOKEN)
        status, _, _ = await port.form(path=path, X_Twilio_Signature=signed)
    assert status == 204


async def test_a_toy_row_is_served_like_any_other() -> None:
    class Toy(Bundle):
        toy_sid: str
        parts: int | None = None

    row = Callback("toy", "toys", "twilio.toy.v1", Toy, "toy_sid", ("toy_sid",), into="toys")
    async with opened(rows=[row]) as port:
        fields = {"ToySid": "T1", "AccountSid": ACCOUNT, "Parts": "3"}
        assert (await port.form(fields, path="/callbacks/toy"))[0] == 204
        assert (await port.form())[0] == 404
    assert port.kafka.records[0].topic == "twilio.toys"
    assert json.loads(port.kafka.records[0].value or b"")["parts"] == 3


async def test_a_body_that_arrives_in_pieces_is_stored(port: Port) -> None:
    encoded = urlencode(STATUS).encode()

    async def pieces() -> AsyncIterator[bytes]:
        for letter in encoded:
            yield bytes([letter])

    signed = compute(PUBLIC + PATH, STATUS.items(), TOKEN)
    status, _, _ = await port.call(body=pieces(), Content_Type=FORM_TYPE, X_Twilio_Signature=signed)
    assert status == 204


# --- unavailable ---
@pytest.mark.parametrize("error", [Unavailable("x"), TimeoutError(), ConnectionError("x"), RuntimeError("secret")])
async def test_what_kafka_does_not_acknowledge_is_unavailable(port: Port, error: Exception) -> None:
    before = counted("message-status", "unavailable")
    port.kafka.error = error
    status, text, headers = await port.form()
    assert (status, text, headers["Retry-After"]) == (503, "Not stored; try again.\n", "5")
    assert counted("message-status", "unavailable") == before + 1
    port.kafka.error = None
    assert (await port.form())[0] == 204


async def test_the_answer_waits_for_the_acknowledgement(port: Port) -> None:
    port.kafka.acknowledges.clear()
    call = asyncio.create_task(port.form())
    await asyncio.wait_for(port.kafka.asked.wait(), DEADLINE_SECONDS)
    assert not (await asyncio.wait({call}, timeout=0.1))[0]
    port.kafka.acknowledges.set()
    assert (await call)[0] == 204


async def test_a_defect_of_ours_is_unavailable_and_never_a_traceback() -> None:
    class Broken(Bundle):
        @property
        def when(self) -> None:
            raise RuntimeError("defect")

    row = Callback("toy", "toys", "twilio.toy.v1", Broken, "toy_sid", ("toy_sid",), timed_by="when")
    async with opened(rows=[row]) as port:
        with capture_logs() as logs:
            status, text, _ = await port.form({"ToySid": "T1", "AccountSid": ACCOUNT}, path="/callbacks/toy")
    assert (status, text) == (503, "Not stored; try again.\n")
    assert logs[0]["reason"] == "unexpected RuntimeError"


# --- the end ---
async def test_while_draining_callbacks_are_stored_and_connections_end(port: Port) -> None:
    assert "Connection" not in (await port.form())[2]
    port.server.drain()
    status, _, headers = await port.form()
    assert (status, headers["Connection"]) == (204, "close")


async def test_refusing_answers_unavailable(port: Port) -> None:
    port.server.refuse()
    status, _, headers = await port.form()
    assert (status, headers["Retry-After"], headers["Connection"]) == (503, "5", "close")


async def test_closing_finishes_what_is_in_flight_and_takes_nothing_new(port: Port) -> None:
    port.kafka.acknowledges.clear()
    call = asyncio.create_task(port.form())
    await asyncio.wait_for(port.kafka.asked.wait(), DEADLINE_SECONDS)
    closing = asyncio.create_task(port.server.close())
    await asyncio.wait({closing}, timeout=0.05)
    with pytest.raises(aiohttp.ClientConnectionError):
        await port.form()
    assert not closing.done()
    port.kafka.acknowledges.set()
    assert (await call)[0] == 204
    await closing
    assert len(port.kafka.records) == 1


async def test_a_taken_port_says_so(port: Port) -> None:
    second = Receiver(rows=[], keys={}, public_url=PUBLIC, publish=port.kafka.publish, prefix="twilio")
    with pytest.raises(Unavailable, match=r"callbacks\.port: cannot listen on 127\.0\.0\.1"):
        await second.open("127.0.0.1", port.server.port)


async def test_several_processes_may_share_a_port() -> None:
    kafka = Kafka()
    servers = [Receiver(rows=[], keys={}, public_url=PUBLIC, publish=kafka.publish, prefix="t") for _ in range(2)]
    await servers[0].open("127.0.0.1", 0, reuse_port=True)
    await servers[1].open("127.0.0.1", servers[0].port, reuse_port=True)
    for server in servers:
        await server.close()


# --- with the simulator ---
async def test_the_simulators_callbacks_are_stored_from_the_first_to_the_last(unused_tcp_port: int) -> None:
    async with Simulator(seed=7) as simulator:
        public = f"http://127.0.0.1:{unused_tcp_port}"
        kafka = Kafka()
        server = Receiver(
            rows=CALLBACKS.values(),
            keys={simulator.account_sid: Keys.of([simulator.auth_token])},
            public_url=public,
            publish=kafka.publish,
            prefix="twilio",
        )
        await server.open("127.0.0.1", unused_tcp_port)
        form = {"To": "+15550100002", "From": "+15550100001", "Body": "x"}
        callback = f"{public}/callbacks/message-status?command=commands%2F0%2F1#rc=3&rp=all"
        target = f"{simulator.url}/2010-04-01/Accounts/{simulator.account_sid}/Messages.json"
        authorization = aiohttp.encode_basic_auth(simulator.account_sid, simulator.auth_token)
        async with (
            aiohttp.ClientSession(headers={"Authorization": authorization}) as session,
            session.post(target, data={**form, "StatusCallback": callback}) as answer,
        ):
            assert answer.status == 201, await answer.text()
        simulator.receive(
            from_="+15550100003", to="+15550100001", body="hello", url=f"{public}/callbacks/inbound-message"
        )
        await simulator.settle()
        await server.close()
    statuses = [
        json.loads(record.value or b"")["message_status"] for record in kafka.records if "status" in record.topic
    ]
    assert statuses == ["sent", "delivered"]
    assert {row.outcome for row in simulator.deliveries.rows} == {"delivered"}
    assert [record.topic for record in kafka.records].count("twilio.inbound-messages") == 1
    assert urlsplit(public).port == server.port
