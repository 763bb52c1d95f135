"""What the public port refuses, and what nobody outside can do to it."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import pytest
from structlog.testing import capture_logs

from connector.errors import ConfigurationError
from connector.receiver.receiver import Receiver
from connector.twilio.signature import Keys, compute, compute_sha256
from tests.callback_port import (
    ACCOUNT,
    FORM_TYPE,
    HEAD,
    OTHER,
    OTHER_TOKEN,
    PATH,
    PUBLIC,
    STATUS,
    TOKEN,
    Kafka,
    Port,
    counted,
    opened,
    posted,
)


# --- forbidden ---
async def forbidden(port: Port, outcome: str = "forbidden", **given: Any) -> None:
    before = counted("message-status", outcome)
    status, text, _ = await port.form(**given)
    assert (status, text) == (403, "Forbidden.\n")
    assert port.kafka.records == []
    assert counted("message-status", outcome) == before + 1


async def test_a_wrong_signature_is_forbidden(port: Port) -> None:
    await forbidden(port, token="another")
    await forbidden(port, X_Twilio_Signature="x")
    await forbidden(port, X_Twilio_Signature="ä" * 9)
    await forbidden(port, public="https://other.example.com")


async def test_a_missing_signature_is_forbidden(port: Port) -> None:
    before = counted("message-status", "unsigned")
    status, text, _ = await port.call(body=urlencode(STATUS).encode(), Content_Type=FORM_TYPE)
    assert (status, text) == (403, "Forbidden.\n")
    assert counted("message-status", "unsigned") == before + 1


async def test_a_changed_field_or_query_is_forbidden(port: Port) -> None:
    signed = compute(PUBLIC + PATH, STATUS.items(), TOKEN)
    await forbidden(port, fields={**STATUS, "MessageStatus": "failed"}, X_Twilio_Signature=signed)
    await forbidden(port, fields={**STATUS, "Extra": ""}, X_Twilio_Signature=signed)
    await forbidden(port, path="/callbacks/message-status?command=cmd-2", X_Twilio_Signature=signed)


async def test_an_unknown_or_missing_account_is_forbidden(port: Port) -> None:
    await forbidden(port, "foreign", fields={**STATUS, "AccountSid": "AC" + "9" * 32})
    await forbidden(port, "foreign", fields={**STATUS, "AccountSid": ""})
    await forbidden(port, "foreign", fields={"MessageSid": "SM1", "MessageStatus": "sent"})


async def test_an_account_cannot_speak_for_another(port: Port) -> None:
    await forbidden(port, token=OTHER_TOKEN)
    two = [*STATUS.items(), ("AccountSid", OTHER)]
    await forbidden(port, fields=two, token=TOKEN)


async def test_two_names_of_an_account_are_a_bad_request(port: Port) -> None:
    for first, second in ((ACCOUNT, OTHER), (OTHER, ACCOUNT), (ACCOUNT, ACCOUNT)):
        for token in (TOKEN, OTHER_TOKEN, "nobodys"):
            fields = [("AccountSid", first), ("account_sid", second), ("MessageSid", "SM1"), ("MessageStatus", "sent")]
            assert (await port.form(fields, token=token))[0] == 400
    assert port.kafka.records == []


async def test_what_follows_the_signed_part_of_a_target_is_a_bad_request(port: Port) -> None:
    signed = compute(PUBLIC + PATH, STATUS.items(), TOKEN)
    for tail in ("#", "#&command=EVIL&correlation=EVIL", "&a=b#c"):
        reply = await port.raw(posted(PATH + tail, urlencode(STATUS).encode(), signed))
        assert reply.startswith(b"HTTP/1.1 400"), tail
    assert port.kafka.records == []


async def test_unknown_algorithms_and_shared_keys_are_forbidden(port: Port) -> None:
    name = "X_Twilio_Webhooks_Signature_Settings"
    await forbidden(port, **{name: "key=key1,algorithm=HMAC_MD5"})
    await forbidden(port, **{name: "key=key1,algorithm=HMAC_SHA256"})
    await forbidden(port, **{name: "key=other,algorithm=HMAC_SHA256"})


async def test_a_shared_key_signs_with_sha256(port: Port) -> None:
    status, _, _ = await port.form(
        X_Twilio_Signature=compute_sha256(PUBLIC + PATH, STATUS.items(), "shared-secret"),
        X_Twilio_Webhooks_Signature_Settings="key=key1,algorithm=HMAC_SHA256",
    )
    assert status == 204


async def test_keys_can_be_replaced_while_it_runs(port: Port) -> None:
    assert (await port.form(token="old-token"))[0] == 204
    port.server.replace_keys({ACCOUNT: Keys.of(["newest-token"])})
    assert (await port.form(token="old-token"))[0] == 403
    assert (await port.form(token="newest-token"))[0] == 204


async def test_host_headers_do_not_matter(port: Port) -> None:
    assert (await port.form(Host="evil.example", X_Forwarded_Host="evil.example", X_Forwarded_Proto="http"))[0] == 204


async def test_development_may_switch_the_check_off() -> None:
    async with opened(verify_signatures=False, public_url=None) as port:
        assert (await port.form(token="nobodys"))[0] == 204
        body = b'{"id":"1","source":"s","type":"t","specversion":"1.0"}'
        assert (await port.call("/callbacks/events", body=body, Content_Type="application/json"))[0] == 204


def test_checking_needs_the_public_url() -> None:
    with pytest.raises(ConfigurationError, match=r"callbacks\.public_url"):
        Receiver(rows=[], keys={}, public_url=None, publish=Kafka().publish, prefix="twilio")


# --- invalid ---
async def test_a_body_beyond_the_bound_is_too_large() -> None:
    async with opened(max_body=1024) as port:
        large = {**STATUS, "Body": "x" * 1024}

        async def chunked() -> AsyncIterator[bytes]:
            for _ in range(3):
                yield b"x" * 500

        assert (await port.form(large))[0] == 413
        assert (await port.call(body=chunked(), Content_Type=FORM_TYPE))[0] == 413
        assert (await port.form())[0] == 204


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "multipart/form-data; boundary=x"])
async def test_another_media_type_is_not_supported(port: Port, content_type: str) -> None:
    assert (await port.form(Content_Type=content_type))[0] == 415


@pytest.mark.parametrize(
    "fields",
    [{"AccountSid": ACCOUNT}, {**STATUS, "MessageSid": ""}, {**STATUS, "ErrorCode": "many"}],
)
async def test_a_signed_form_that_does_not_fit_is_a_bad_request(port: Port, fields: dict[str, str]) -> None:
    before = counted("message-status", "invalid")
    assert (await port.form(fields))[:2] == (400, "Bad request.\n")
    assert counted("message-status", "invalid") == before + 1


async def test_a_form_that_cannot_be_read_is_a_bad_request(port: Port) -> None:
    signed = compute(PUBLIC + PATH, STATUS.items(), TOKEN)
    for body in (b"a=\xff", b"&".join([b"a=1"] * 2000)):
        assert (await port.call(body=body, Content_Type=FORM_TYPE, X_Twilio_Signature=signed))[0] == 400


@pytest.mark.parametrize(
    "path", ["/", "/callbacks", "/callbacks/", "/callbacks/other", "/callbacks/message-status/", "//callbacks/events"]
)
async def test_other_paths_are_not_found(port: Port, path: str) -> None:
    assert (await port.call(path))[0] == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
async def test_other_methods_are_not_allowed(port: Port, method: str) -> None:
    status, _, headers = await port.call(method=method)
    assert status == 405
    assert headers["Allow"] == "POST, GET"


async def test_events_are_not_taken_by_get(port: Port) -> None:
    assert (await port.call("/callbacks/events", method="GET"))[0] == 405


# --- callers that misbehave ---
async def test_a_caller_that_goes_away_harms_nobody(port: Port) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port.server.port)
    writer.write(HEAD + b"Content-Type: " + FORM_TYPE.encode() + b"\r\nContent-Length: 50\r\n\r\nabc")
    await writer.drain()
    writer.transport.abort()
    assert (await port.form())[0] == 204
    assert len(port.kafka.records) == 1


async def test_compressed_bodies_are_not_expanded(port: Port) -> None:
    bomb = gzip.compress(b"a=" + b"x" * 10_000_000)
    status, _, _ = await port.call(body=bomb, Content_Type=FORM_TYPE, Content_Encoding="gzip")
    assert status in (400, 403)


async def test_many_refusals_are_one_line_without_content(port: Port) -> None:
    with capture_logs() as logs:
        for number in range(50):
            await port.form({**STATUS, "MessageSid": f"SM-secret-{number}"}, token="nobodys")
    assert len(logs) == 1
    assert logs[0]["event"] == "callback refused"
    assert (logs[0]["kind"], logs[0]["status"], logs[0]["reason"]) == ("message-status", 403, "signature wrong")
    assert "secret" not in repr(logs)
