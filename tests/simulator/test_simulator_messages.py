"""Messages: life cycle, validation with Twilio's codes, inbound."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connector.simulator import (
    MESSAGING_SERVICE_SID,
    OTHER_PHONE_NUMBER,
    PHONE_NUMBER,
    Account,
    MessagingService,
    Simulator,
)
from tests.simulator.simulator_world import Hooks, ask, send

THEIRS = "+15550100002"
MUTED = {"From": ""}


async def read(simulator: Simulator, sid: str) -> dict[str, Any]:
    found: dict[str, Any] = (await ask(simulator, "GET", f"Messages/{sid}.json")).json
    return found


async def test_a_created_message_is_queued_without_date_sent_and_price(simulator: Simulator) -> None:
    created = await send(simulator)
    assert created.status == 201
    assert (created.json["status"], created.json["date_sent"], created.json["price"]) == ("queued", None, None)


async def test_a_message_is_delivered_and_charged_afterwards(simulator: Simulator) -> None:
    sid = (await send(simulator)).json["sid"]
    await simulator.settle()
    message = await read(simulator, sid)
    assert (message["status"], message["price"]) == ("delivered", "-0.00750")
    assert message["date_sent"]


async def test_a_repeated_post_is_a_second_message(simulator: Simulator) -> None:
    first, second = await send(simulator), await send(simulator)
    assert first.json["sid"] != second.json["sid"]
    assert len(simulator.journal.of("CreateMessage")) == 2


@pytest.mark.parametrize("outcome", ["undelivered", "failed"])
async def test_an_outcome_chosen_by_number_comes_with_an_error_code(simulator: Simulator, outcome: str) -> None:
    simulator.configure(outcome_by_number={THEIRS: outcome}, error_codes=[30007])
    sid = (await send(simulator)).json["sid"]
    await simulator.settle()
    message = await read(simulator, sid)
    assert (message["status"], message["error_code"], message["error_message"]) == (outcome, 30007, "Message filtered")


async def test_a_failed_message_can_stay_without_date_sent(simulator: Simulator) -> None:
    simulator.configure(outcomes={"failed": 1}, failed_has_date_sent=False)
    sid = (await send(simulator)).json["sid"]
    await simulator.settle()
    assert (await read(simulator, sid))["date_sent"] is None


async def test_a_message_of_a_service_is_accepted_before_its_sender_is_chosen(simulator: Simulator) -> None:
    created = await send(simulator, MessagingServiceSid=MESSAGING_SERVICE_SID, **MUTED)
    assert (created.json["status"], created.json["from"], created.json["num_segments"]) == ("accepted", None, "0")
    await simulator.settle()
    message = await read(simulator, created.json["sid"])
    assert (message["from"], message["status"]) == (PHONE_NUMBER, "delivered")


async def test_a_scheduled_message_waits_and_can_be_canceled(simulator: Simulator) -> None:
    at = (datetime.now(UTC) + timedelta(minutes=10)).strftime("%Y-%m-%dT%H:%M:%SZ")
    form = {"MessagingServiceSid": MESSAGING_SERVICE_SID, "ScheduleType": "fixed", "SendAt": at}
    sid = (await send(simulator, **form, **MUTED)).json["sid"]
    await simulator.settle()
    assert (await read(simulator, sid))["status"] == "scheduled"
    canceled = await ask(simulator, "POST", f"Messages/{sid}.json", data={"Status": "canceled"})
    assert canceled.json["status"] == "canceled"


async def test_only_scheduled_messages_can_be_canceled(simulator: Simulator) -> None:
    sid = (await send(simulator)).json["sid"]
    refused = await ask(simulator, "POST", f"Messages/{sid}.json", data={"Status": "canceled"})
    assert (refused.status, refused.code) == (409, 20409)


async def test_an_empty_body_redacts_and_another_one_is_refused(simulator: Simulator) -> None:
    sid = (await send(simulator)).json["sid"]
    assert (await ask(simulator, "POST", f"Messages/{sid}.json", data={"Body": "x"})).code == 20001
    assert (await ask(simulator, "POST", f"Messages/{sid}.json", data={"Body": ""})).json["body"] == ""
    assert (await read(simulator, sid))["body"] == ""


async def test_a_message_is_deleted_only_when_it_is_final(simulator: Simulator) -> None:
    sid = (await send(simulator)).json["sid"]
    assert (await ask(simulator, "DELETE", f"Messages/{sid}.json")).code == 20009
    await simulator.settle()
    assert (await ask(simulator, "DELETE", f"Messages/{sid}.json")).status == 204
    assert (await ask(simulator, "DELETE", f"Messages/{sid}.json")).code == 20404


async def test_media_are_bytes_without_suffix_and_metadata_with_json(simulator: Simulator) -> None:
    created = await send(simulator, MediaUrl="https://example.com/cat.gif")
    assert created.json["sid"].startswith("MM")
    (media,) = (await ask(simulator, "GET", f"Messages/{created.json['sid']}/Media.json")).json["media_list"]
    content = await ask(simulator, "GET", media["uri"].removesuffix(".json"))
    assert (content.headers["Content-Type"], content.body) == (
        "image/gif",
        b"simulated content of https://example.com/cat.gif",
    )


async def test_national_numbers_are_stored_as_e164(simulator: Simulator) -> None:
    assert (await send(simulator, To="(555) 010-0002")).json["to"] == THEIRS


async def test_retention_options_hide_body_and_number(simulator: Simulator) -> None:
    created = await send(simulator, ContentRetention="discard", AddressRetention="obfuscate")
    assert (created.json["body"], created.json["to"]) == ("", "+1555010XXXX")


async def test_a_body_in_json_is_not_understood(simulator: Simulator) -> None:
    refused = await ask(simulator, "POST", "Messages.json", json={"To": THEIRS, "From": PHONE_NUMBER, "Body": "x"})
    assert refused.code == 21604


async def test_unknown_parameters_are_ignored_but_written_down(simulator: Simulator) -> None:
    assert (await send(simulator, body="x", Tag="y")).status == 201
    assert simulator.journal.unknown_parameters() == {"body", "Tag"}


def in_seconds(seconds: int) -> dict[str, str]:
    at = (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"ScheduleType": "fixed", "SendAt": at, "MessagingServiceSid": MESSAGING_SERVICE_SID, "From": ""}


REFUSED = [
    ({"To": ""}, 21604),
    ({"To": "555"}, 21211),
    ({"To": "whatsapp:nobody"}, 21211),
    ({"From": ""}, 21603),
    ({"From": "+1!"}, 21212),
    ({"Body": ""}, 21602),
    ({"Body": "x" * 1601}, 21617),
    ({"MediaUrl": "ftp://example.com/a.png"}, 21620),
    ({"StatusCallback": "http://my_host.example.com/"}, 21609),
    ({"StatusCallback": "nothing"}, 21609),
    ({"ValidityPeriod": "0"}, 90007),
    ({"ValidityPeriod": "36001"}, 90007),
    ({"MaxPrice": "cheap"}, 21627),
    ({"ProvideFeedback": "yes"}, 20001),
    ({"RiskCheck": "off"}, 20001),
    ({"ContentSid": "HX" + "0" * 32, "ContentVariables": "{"}, 21656),
    ({"ContentVariables": "{}"}, 21656),
    ({"FallbackFrom": PHONE_NUMBER}, 21664),
    ({"MessagingServiceSid": "MG" + "f" * 32}, 21701),
    ({"ScheduleType": "fixed", "SendAt": "2030-01-01T00:00:00Z"}, 35118),
    (in_seconds(600) | {"SendAt": ""}, 35111),
    (in_seconds(600) | {"SendAt": "soon"}, 35114),
    (in_seconds(200), 35114),
    (in_seconds(36 * 86_400), 35115),
    ({"To": "+15005550001"}, 21211),
    ({"To": "+15005550002"}, 21612),
    ({"To": "+15005550003"}, 21408),
    ({"To": "+15005550004"}, 21610),
    ({"To": "+15005550009"}, 21614),
    ({"From": "+15005550001"}, 21212),
    ({"From": "+15005550007"}, 21606),
    ({"From": "+15005550008"}, 21611),
]


@pytest.mark.parametrize(("fields", "code"), REFUSED, ids=[f"{code}-{n}" for n, (_, code) in enumerate(REFUSED)])
async def test_what_twilio_refuses_is_refused_with_its_code(
    simulator: Simulator, fields: dict[str, str], code: int
) -> None:
    refused = await send(simulator, **fields)
    assert (refused.code, refused.json["more_info"]) == (code, f"https://www.twilio.com/docs/errors/{code}")
    assert refused.status == refused.json["status"] == (429 if code == 21611 else 400)
    assert not simulator.state.stores[simulator.account_sid].messages.rows
    assert not simulator.journal.of("CreateMessage")[0].executed


async def test_eleven_media_are_one_too_many(simulator: Simulator) -> None:
    form = [("To", THEIRS), ("From", PHONE_NUMBER), *(("MediaUrl", f"https://example.com/{n}") for n in range(11))]
    assert (await ask(simulator, "POST", "Messages.json", data=form)).code == 21623


async def test_strict_senders_must_belong_to_the_account(simulator: Simulator) -> None:
    simulator.configure(strict_senders=True)
    assert (await send(simulator)).status == 201
    assert (await send(simulator, From="+15550100099")).code == 21606
    both = await send(simulator, From=OTHER_PHONE_NUMBER, MessagingServiceSid=MESSAGING_SERVICE_SID)
    assert both.code == 21606


async def test_an_empty_pool_cannot_send() -> None:
    account = Account(services=(MessagingService(senders=()),))
    async with Simulator(accounts=[account]) as simulator:
        assert (await send(simulator, MessagingServiceSid=MESSAGING_SERVICE_SID, **MUTED)).code == 21703


async def test_a_trial_account_reaches_only_verified_numbers() -> None:
    async with Simulator(accounts=[Account(trial=True, verified=(THEIRS,))]) as simulator:
        assert (await send(simulator)).status == 201
        assert (await send(simulator, To="+15550100003")).code == 21608


async def test_test_credentials_store_nothing_call_nothing_back_and_list_nothing(hooks: Hooks) -> None:
    async with Simulator(accounts=[Account(test=True)]) as simulator:
        created = await send(simulator, From="+15005550006", StatusCallback=hooks.url)
        assert (created.status, created.json["status"]) == (201, "queued")
        assert (await send(simulator)).code == 21606
        listed = await ask(simulator, "GET", "Messages.json")
        assert (listed.status, listed.code) == (403, 20008)
        await simulator.settle()
        assert hooks.received == []


async def test_who_answers_stop_cannot_be_reached_until_start(simulator: Simulator) -> None:
    simulator.receive(from_=THEIRS, to=PHONE_NUMBER, body=" stop ")
    assert (await send(simulator)).code == 21610
    simulator.receive(from_=THEIRS, to=PHONE_NUMBER, body="START")
    assert (await send(simulator)).status == 201


async def test_an_inbound_message_is_listed_and_announced_with_its_media(simulator: Simulator, hooks: Hooks) -> None:
    row = simulator.receive(
        from_=THEIRS, to=PHONE_NUMBER, body="Grüße & 🎉", media=[("image/png", b"png")], url=hooks.url + "/in?a=b"
    )
    await simulator.settle()
    (announced,) = hooks.received
    assert announced.is_signed()
    assert (announced.form["Body"], announced.form["NumMedia"], announced.form["FromZip"]) == (
        "Grüße & 🎉",
        "1",
        "94937",
    )
    path = announced.form["MediaUrl0"].removeprefix(simulator.url)
    assert (await ask(simulator, "GET", path)).body == b"png"
    (listed,) = (await ask(simulator, "GET", "Messages.json")).json["messages"]
    assert (listed["sid"], listed["direction"], listed["status"]) == (row.sid, "inbound", "received")


async def test_the_webhook_of_a_number_is_used(simulator: Simulator, hooks: Hooks) -> None:
    numbers = (await ask(simulator, "GET", "IncomingPhoneNumbers.json")).json["incoming_phone_numbers"]
    sid = next(number["sid"] for number in numbers if number["phone_number"] == PHONE_NUMBER)
    await ask(simulator, "POST", f"IncomingPhoneNumbers/{sid}.json", data={"SmsUrl": hooks.url})
    simulator.receive(from_=THEIRS, to=PHONE_NUMBER)
    await simulator.settle()
    assert hooks.values("To") == [PHONE_NUMBER]


@pytest.mark.parametrize(
    ("answer", "replies"),
    [
        (("<?xml version='1.0'?><Response/>", "text/xml"), []),
        (("<Response><Message>A &amp; B</Message></Response>", "text/xml"), ["A & B"]),
        (("OK", "text/plain"), ["OK"]),
        (204, []),
    ],
)
async def test_what_the_webhook_answers_may_be_sent_as_a_reply(
    simulator: Simulator, hooks: Hooks, answer: object, replies: list[str]
) -> None:
    hooks.answers.append(answer)
    simulator.receive(from_=THEIRS, to=PHONE_NUMBER, url=hooks.url)
    await simulator.settle()
    messages = (await ask(simulator, "GET", f"Messages.json?To=%2B{THEIRS[1:]}")).json["messages"]
    assert [message["body"] for message in messages] == replies
    assert all(message["direction"] == "outbound-reply" for message in messages)
