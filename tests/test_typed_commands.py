"""Commands for one thing each: what they do, and what they come to when the answer is lost or the process dies."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from connector.errors import Rejected
from connector.events import now
from connector.executor.doubt import candidates
from connector.resources import COMMANDS
from connector.resources.commands import parse
from connector.resources.models import Pairs
from connector.simulator import Simulator
from connector.simulator.done import Post, Verification
from tests.executing import Executing, executing
from tests.producing import Message, produce
from tests.running import configuration, running, until, values, wait_for_records
from tests.twilio_servers import connected

NUMBER = "+15550100002"
SERVICE, CONFERENCE, PARTICIPANT, CONVERSATION = (kind + "1" * 32 for kind in ("VA", "CF", "CA", "CH"))


@dataclass(frozen=True)
class Case:
    """A command and its operation; `times`, how often Twilio does it when the first answer is lost."""

    command: str
    operation: str
    value: Mapping[str, Any]
    shows: Mapping[str, Any]
    outcome: str = "succeeded"
    times: int = 1
    reconciled: bool = False


def cases(simulator: Simulator) -> list[Case]:
    """All of them, after what they need was made at Twilio."""
    (scheduled,) = simulator.fill("messages", rows=[{"status": "scheduled"}])
    ended, redirected = simulator.fill("calls", count=2, status="in-progress", answered=1.0)
    lookup = {"phone_number": NUMBER, "fields": ["caller_name", "line_type_intelligence"]}
    code = {"service_sid": SERVICE, "verification_sid": started(simulator), "code": "123456"}
    return [
        Case(
            "start-verification",
            "CreateVerification",
            {"service_sid": SERVICE, "to": NUMBER, "channel": "sms"},
            {"status": "pending", "to": NUMBER},
            outcome="unknown",
        ),
        Case("check-verification", "CreateVerificationCheck", code, {"status": "approved"}, outcome="unknown"),
        Case("look-up-number", "FetchPhoneNumber", lookup, {"valid": True, "phone_number": NUMBER}, times=2),
        Case("end-conference", "UpdateConference", {"sid": CONFERENCE[:-1] + "2"}, {"status": "completed"}, times=2),
        Case(
            "mute-participant",
            "UpdateParticipant",
            {"conference_sid": CONFERENCE, "call_sid": PARTICIPANT},
            {"muted": True, "call_sid": PARTICIPANT},
            times=2,
        ),
        Case(
            "send-to-conversation",
            "CreateConversationMessage",
            {"conversation_sid": CONVERSATION, "author": "ann", "body": "hi", "attributes": {"a": 1}},
            {"body": "hi", "author": "ann", "conversation_sid": CONVERSATION, "attributes": '{"a":1}'},
            reconciled=True,
        ),
        Case("cancel-message", "UpdateMessage", {"sid": scheduled}, {"status": "canceled"}, times=2),
        Case("end-call", "UpdateCall", {"sid": ended}, {"status": "completed"}),
        Case("redirect-call", "UpdateCall", {"sid": redirected, "twiml": "<Response/>"}, {}, outcome="unknown"),
    ]


def started(simulator: Simulator) -> str:
    """A verification of another number."""
    known = simulator.state.stores[simulator.account_sid].done.verifications
    sid = "VE" + "3" * 32
    known[sid] = Verification(sid=sid, service_sid=SERVICE, to="+15550100009", channel="sms", code="123456", created=0)
    return sid


async def sent(executor: Executing, every: list[Case]) -> None:
    """Send them all."""
    for case in every:
        await executor.send(case.value, command=case.command, key=case.command, id=case.command)


async def results_of(executor: Executing, every: list[Case]) -> dict[str, dict[str, Any]]:
    return {case.command: (await executor.results(1, command=case.command, within=60))[0] for case in every}


def executed(simulator: Simulator, case: Case) -> int:
    """How often Twilio did it; two commands update a call."""
    entries = simulator.journal.of(case.operation)
    return sum(entry.executed and case.value.get("sid", "") in entry.path for entry in entries)


async def test_each_of_them_does_what_its_name_says(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix, also=COMMANDS) as executor:
        every = cases(executor.simulator)
        await sent(executor, every)
        found = await results_of(executor, every)
        assert executor.simulator.journal.unknown_parameters() == set()
        assert {case.command: executed(executor.simulator, case) for case in every} == dict.fromkeys(found, 1)
    assert {name: one["outcome"] for name, one in found.items()} == dict.fromkeys(found, "succeeded"), found
    for case in every:
        (bundle,) = found[case.command]["bundles"]
        assert {name: bundle[name] for name in case.shows} == case.shows


async def test_a_lost_answer_comes_to_what_the_row_promises(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix, also=COMMANDS) as executor:
        every = cases(executor.simulator)
        for case in every:
            match = {"Twiml": "<Response/>"} if case.command == "redirect-call" else {}
            match |= {"Status": "completed"} if case.command == "end-call" else {}
            executor.simulator.fault("lose-answer", case.operation, times=1, match=match)
        await sent(executor, every)
        found = await results_of(executor, every)
        done = {case.command: executed(executor.simulator, case) for case in every}
    assert {name: one["outcome"] for name, one in found.items()} == {case.command: case.outcome for case in every}
    assert {name: one["reconciled"] for name, one in found.items()} == {case.command: case.reconciled for case in every}
    # Ending a call that has ended is refused, which says that it was so.
    assert done == {case.command: case.times for case in every}
    (bundle,) = found["send-to-conversation"]["bundles"]
    assert bundle["body"] == "hi"


async def test_a_process_that_is_killed_before_the_answer_comes_to_the_same(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    async with Simulator(seed=1) as simulator:
        every = cases(simulator)
        for case in every:
            simulator.fault("slow-answer", case.operation, seconds=600)
        document = configuration(simulator, kafka=kafka, prefix=prefix, roles=["commands"])
        async with running(document, tmp_path) as (process,):
            asked = [
                Message(f"{prefix}.commands.{case.command}", case.value, case.command, {"id": case.command})
                for case in every
            ]
            produce(kafka, asked)
            await until(lambda: all(executed(simulator, case) for case in every))
            await process.kill()
            simulator.faults.rows.clear()
            await process.start()
            found = {
                case.command: values(await wait_for_records(kafka, f"{prefix}.results.{case.command}", 1))[0]
                for case in every
            }
        done = {case.command: executed(simulator, case) for case in every}
    assert {name: one["outcome"] for name, one in found.items()} == {case.command: case.outcome for case in every}
    assert found["send-to-conversation"]["reconciled"]
    once = {case.command for case in every if case.times == 1}
    assert {name for name, count in done.items() if count == 1} >= once


@pytest.mark.parametrize("order", [(("Order", "desc"),), ()])
async def test_a_message_of_a_long_conversation_is_found_because_the_newest_are_asked_for(order: Pairs) -> None:
    operation = COMMANDS["send-to-conversation"].operations[None]
    assert operation.reconciliation is not None
    value = {"conversation_sid": CONVERSATION, "author": "system", "body": "hi"}
    _, parameters = parse(COMMANDS["send-to-conversation"], orjson.dumps(value))
    asking = replace(operation, reconciliation=replace(operation.reconciliation, order=order))
    began = now() - timedelta(seconds=1)
    async with Simulator() as simulator, connected(simulator.url) as client:
        older = Post(
            sid="IM" + "0" * 32,
            conversation_sid=CONVERSATION,
            created=0,
            updated=0,
            index=0,
            author="system",
            body="hi",
            attributes="{}",
            content_sid=None,
        )
        simulator.state.stores[simulator.account_sid].done.posts[CONVERSATION] = [older] * 300
        await client.request(operation.request(parameters))
        found = await candidates(client, asking, parameters, since=began, until=now() + timedelta(seconds=5))
    assert len(found) == bool(order)


@pytest.mark.parametrize(
    ("command", "value", "sentence"),
    [
        ("start-verification", {"service_sid": SERVICE, "to": NUMBER, "channel": "SMS"}, "channel is not 'sms'"),
        ("start-verification", {"service_sid": CONFERENCE, "to": NUMBER}, "service_sid is not a SID: VA and"),
        ("start-verification", {"service_sid": SERVICE, "to": 5}, "to must be text"),
        ("start-verification", {"service_sid": SERVICE, "to": NUMBER, "custom_code": "1"}, "custom_code is shorter"),
        ("check-verification", {"service_sid": SERVICE, "code": "1234"}, "to or verification_sid is needed"),
        ("check-verification", {"service_sid": SERVICE, "to": NUMBER, "code": 123456}, "code must be text"),
        ("look-up-number", {"phone_number": "../Foo"}, "phone_number is not a number such as"),
        ("look-up-number", {"phone_number": f"{NUMBER}?x=1"}, "phone_number is not a number such as"),
        ("look-up-number", {"phone_number": NUMBER, "fields": ["carrier"]}, "fields[0] is not 'validation'"),
        ("end-conference", {"sid": CONFERENCE, "status": "init"}, "status is not 'completed'"),
        ("end-conference", {"sid": "my-room"}, "sid is not a SID: CF and"),
        ("mute-participant", {"conference_sid": CONFERENCE, "call_sid": "me"}, "call_sid is not a SID: CA and"),
        ("mute-participant", {"conference_sid": CONFERENCE, "call_sid": PARTICIPANT, "muted": None}, "muted must be"),
        ("send-to-conversation", {"conversation_sid": "CH1/../x", "body": "a"}, "conversation_sid is not a SID: CH"),
        ("send-to-conversation", {"conversation_sid": CONVERSATION, "body": "a" * 1601}, "body is longer than 1600"),
        ("cancel-message", {"sid": PARTICIPANT}, "sid is not a SID: SM or MM and"),
        ("cancel-message", {"sid": "SM" + "a" * 32, "body": ""}, "body is unknown"),
        ("end-call", {"sid": PARTICIPANT, "status": "busy"}, "status is not 'completed' or 'canceled'"),
        ("redirect-call", {"sid": PARTICIPANT}, "url or twiml is needed"),
        ("redirect-call", {"sid": PARTICIPANT, "url": "https://a.example", "twiml": "<R/>"}, "exclude each other"),
    ],
)
def test_what_makes_no_sense_is_rejected(command: str, value: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Rejected, match=f"{command}: ") as refused:
        parse(COMMANDS[command], orjson.dumps(value))
    assert sentence in str(refused.value)


def test_whether_webhooks_are_called_is_a_header() -> None:
    value = {"conversation_sid": CONVERSATION, "body": "hi", "webhook_enabled": True}
    operation, parameters = parse(COMMANDS["send-to-conversation"], orjson.dumps(value))
    request = operation.request(parameters)
    assert request.headers == (("X-Twilio-Webhook-Enabled", "true"),)
    assert request.form == (("Body", "hi"),)
