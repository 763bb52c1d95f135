"""What Twilio has signed and does not fit is kept: among the dead letters, before the answer."""

from collections.abc import AsyncIterator
from urllib.parse import urlencode

import pytest

from connector.errors import Unavailable
from connector.events import Record
from connector.twilio.signature import compute
from tests.callback_port import PATH, PUBLIC, STATUS, TOKEN, Port, opened

# A duration that is no number: perhaps what Twilio will send one day.
UNFIT = {**STATUS, "ErrorCode": "thirty thousand and seven"}


@pytest.fixture
async def port() -> AsyncIterator[Port]:
    async with opened() as opened_port:
        yield opened_port


def described(record: Record) -> dict[str, str]:
    return {name: raw.decode() for name, raw in record.headers}


async def test_a_signed_form_that_does_not_fit_is_kept_before_it_is_refused(port: Port) -> None:
    assert (await port.form(UNFIT))[:2] == (400, "Bad request.\n")
    (letter,) = port.kafka.records
    assert (letter.topic, letter.value) == ("twilio.dead-letters", urlencode(UNFIT).encode())
    headers = described(letter)
    assert headers["dlq.errors.stage"] == "callback"
    assert headers["dlq.errors.class"] == "InvalidRecord"
    assert headers["dlq.errors.message"] == "The form does not fit message-status: error_code (int_parsing)."
    assert headers["callback-kind"] == "message-status"
    assert headers["callback-target"] == PATH
    assert headers["i-twilio-idempotency-token"] == "token-1"
    assert not any("signature" in name.lower() for name in headers)


async def test_the_query_of_a_get_is_kept_as_it_came(port: Port) -> None:
    path = f"/callbacks/message-status?{urlencode(UNFIT)}"
    signed = compute(PUBLIC + path, (), TOKEN)
    assert (await port.call(path, method="GET", X_Twilio_Signature=signed))[0] == 400
    (letter,) = port.kafka.records
    assert letter.value == urlencode(UNFIT).encode()
    assert described(letter)["callback-target"] == "/callbacks/message-status"


@pytest.mark.parametrize(
    ("second", "reason"),
    [(("messageStatus", "sent"), "message_status has two names"), (("Body", "x"), "body has two values")],
)
async def test_a_signed_form_with_a_field_twice_is_kept(port: Port, second: tuple[str, str], reason: str) -> None:
    assert (await port.form([*STATUS.items(), second]))[0] == 400
    assert (await port.form([*STATUS.items(), second], token="forged"))[0] == 403
    (letter,) = port.kafka.records
    assert described(letter)["dlq.errors.message"] == f"The form is ambiguous: {reason}."


@pytest.mark.parametrize("tail", ["&command=cmd-2", "&%63ommand=cmd-1", "&correlation=%FF"])
async def test_a_signed_address_that_we_cannot_have_made_is_kept(port: Port, tail: str) -> None:
    assert (await port.form(path=PATH + tail))[0] == 400
    (letter,) = port.kafka.records
    assert described(letter)["callback-target"] == PATH + tail


@pytest.mark.parametrize("body", [b'{"id": 1', b'[{"id": "1"}]', b"[1]"])
async def test_signed_json_that_is_no_event_is_kept(port: Port, body: bytes) -> None:
    assert (await port.json(body))[0] == 400
    (letter,) = port.kafka.records
    assert letter.value == body
    assert described(letter)["callback-kind"] == "events"


async def test_what_cannot_be_kept_is_not_refused_for_good(port: Port) -> None:
    port.kafka.error = Unavailable("no broker")
    status, _, headers = await port.form(UNFIT)
    assert status == 503
    assert headers["Retry-After"]


async def test_what_nobody_has_signed_is_not_kept(port: Port) -> None:
    assert (await port.form(UNFIT, token="forged"))[0] == 403
    assert (await port.json(b'{"id": 1', token="forged"))[0] == 403
    assert port.kafka.records == []
