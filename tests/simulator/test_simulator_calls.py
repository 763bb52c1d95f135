"""Calls: life cycle, callbacks, recording, answering machine detection, validation."""

import pytest

from connector.simulator import Account, Simulator
from tests.simulator.simulator_world import Hooks, ask, dial

THEIRS = "+15550100002"
ALL_EVENTS = ["initiated", "ringing", "answered", "completed"]


async def read(simulator: Simulator, sid: str) -> dict[str, str | None]:
    found: dict[str, str | None] = (await ask(simulator, "GET", f"Calls/{sid}.json")).json
    return found


async def test_a_call_reports_all_four_events_in_sequence(simulator: Simulator, hooks: Hooks) -> None:
    sid = (await dial(simulator, StatusCallback=hooks.url + "/cb", StatusCallbackEvent=ALL_EVENTS)).json["sid"]
    await simulator.settle()
    assert hooks.values("CallStatus") == ["initiated", "ringing", "in-progress", "completed"]
    assert hooks.values("SequenceNumber") == ["0", "1", "2", "3"]
    assert all(received.is_signed() for received in hooks.received)
    last = hooks.received[-1].form
    assert (last["CallDuration"], last["Duration"], last["SipResponseCode"]) == ("1", "1", "200")
    assert last["CallbackSource"] == "call-progress-events"
    call = await read(simulator, sid)
    assert (call["status"], call["duration"], call["price"]) == ("completed", "1", "-0.01300")
    assert call["start_time"]
    assert call["end_time"]


async def test_only_completed_is_reported_unless_asked_otherwise(simulator: Simulator, hooks: Hooks) -> None:
    await dial(simulator, StatusCallback=hooks.url)
    await simulator.settle()
    assert hooks.values("CallStatus") == ["completed"]


@pytest.mark.parametrize(("outcome", "sip"), [("busy", "486"), ("no-answer", "487"), ("failed", "404")])
async def test_an_unanswered_call_has_no_duration(simulator: Simulator, hooks: Hooks, outcome: str, sip: str) -> None:
    simulator.configure(outcome_by_number={THEIRS: outcome})
    sid = (await dial(simulator, StatusCallback=hooks.url)).json["sid"]
    await simulator.settle()
    call = await read(simulator, sid)
    assert (call["status"], call["duration"], call["end_time"], call["price"]) == (outcome, None, None, None)
    assert hooks.values("SipResponseCode") == [sip]


async def test_ringing_can_be_missing(simulator: Simulator, hooks: Hooks) -> None:
    simulator.configure(skip_ringing=1.0)
    await dial(simulator, StatusCallback=hooks.url, StatusCallbackEvent=ALL_EVENTS)
    await simulator.settle()
    assert hooks.values("CallStatus") == ["initiated", "in-progress", "completed"]


async def test_canceling_a_queued_call_is_not_reported(simulator: Simulator, hooks: Hooks) -> None:
    simulator.configure(auto_advance=False)
    sid = (await dial(simulator, StatusCallback=hooks.url, StatusCallbackEvent=ALL_EVENTS)).json["sid"]
    canceled = await ask(simulator, "POST", f"Calls/{sid}.json", data={"Status": "canceled"})
    await simulator.settle()
    assert (canceled.json["status"], hooks.received) == ("canceled", [])


async def test_a_call_in_progress_can_be_ended_but_not_canceled(simulator: Simulator, hooks: Hooks) -> None:
    simulator.configure(auto_advance=False)
    sid = (await dial(simulator, StatusCallback=hooks.url)).json["sid"]
    for status in ("initiated", "ringing", "in-progress"):
        simulator.set_status(sid, status)
    path = f"Calls/{sid}.json"
    assert (await ask(simulator, "POST", path, data={"Status": "canceled"})).code == 21220
    assert (await ask(simulator, "POST", path, data={"Status": "completed"})).json["status"] == "completed"
    assert (await ask(simulator, "POST", path, data={"Status": "completed"})).code == 21220
    assert (await ask(simulator, "POST", path, data={"Twiml": "<Response/>"})).code == 21220
    await simulator.settle()
    assert hooks.values("CallStatus") == ["completed"]


async def test_a_redirected_call_takes_a_new_callback_only_with_a_url(simulator: Simulator, hooks: Hooks) -> None:
    simulator.configure(auto_advance=False, fetch_twiml=True)
    sid = (await dial(simulator, StatusCallback=hooks.url + "/old")).json["sid"]
    simulator.set_status(sid, "in-progress")
    path = f"Calls/{sid}.json"
    ignored = {"Twiml": "<Response/>", "StatusCallback": hooks.url + "/new"}
    await ask(simulator, "POST", path, data=ignored)
    await ask(simulator, "POST", path, data={"Url": hooks.url + "/twiml"})
    simulator.set_status(sid, "completed")
    await simulator.settle()
    assert sorted(received.url.rpartition("/")[2] for received in hooks.received) == ["old", "twiml"]


async def test_calls_beyond_the_rate_are_queued_not_refused(simulator: Simulator) -> None:
    simulator.configure(calls_per_second=5)
    answers = [await dial(simulator) for _ in range(4)]
    assert [answer.status for answer in answers] == [201] * 4
    await simulator.settle()
    waits = [int((await read(simulator, answer.json["sid"]))["queue_time"] or 0) for answer in answers]
    assert waits == sorted(waits)
    assert waits[-1] - waits[0] > 200


async def test_a_call_is_deleted_only_when_it_is_over(simulator: Simulator) -> None:
    sid = (await dial(simulator)).json["sid"]
    assert (await ask(simulator, "DELETE", f"Calls/{sid}.json")).code == 20009
    await simulator.settle()
    assert (await ask(simulator, "DELETE", f"Calls/{sid}.json")).status == 204
    assert (await ask(simulator, "GET", f"Calls/{sid}.json")).code == 20404


async def test_an_application_replaces_the_calls_own_callback(simulator: Simulator, hooks: Hooks) -> None:
    form = {"FriendlyName": "a", "StatusCallback": hooks.url + "/application"}
    application = (await ask(simulator, "POST", "Applications.json", data=form)).json["sid"]
    await dial(simulator, ApplicationSid=application, Twiml="", StatusCallback=hooks.url + "/own")
    await simulator.settle()
    assert [received.url for received in hooks.received] == [hooks.url + "/application"]


async def test_a_recorded_call_reports_its_recording(simulator: Simulator, hooks: Hooks) -> None:
    simulator.configure(recording_seconds=12)
    created = await dial(
        simulator,
        Record="true",
        RecordingChannels="dual",
        RecordingStatusCallback=hooks.url + "/recording",
        RecordingStatusCallbackEvent="in-progress completed",
        StatusCallback=hooks.url + "/call",
    )
    await simulator.settle()
    recordings = [received.form for received in hooks.received if received.url.endswith("/recording")]
    assert [form["RecordingStatus"] for form in recordings] == ["in-progress", "completed"]
    assert (recordings[1]["RecordingDuration"], recordings[1]["RecordingChannels"]) == ("12", "2")
    assert "RecordingDuration" not in recordings[0]
    (call,) = (received.form for received in hooks.received if received.url.endswith("/call"))
    assert call["RecordingSid"] == recordings[1]["RecordingSid"]
    listed = (await ask(simulator, "GET", f"Calls/{created.json['sid']}/Recordings.json")).json["recordings"]
    assert [row["status"] for row in listed] == ["completed"]


async def test_repeated_recording_events_are_not_understood_as_a_list(simulator: Simulator, hooks: Hooks) -> None:
    events = ["in-progress", "completed"]
    await dial(simulator, Record="true", RecordingStatusCallback=hooks.url, RecordingStatusCallbackEvent=events)
    await simulator.settle()
    assert hooks.values("RecordingStatus") == ["completed"]


async def test_asynchronous_machine_detection_calls_back(simulator: Simulator, hooks: Hooks) -> None:
    simulator.configure(answered_by="machine_start")
    form = {"MachineDetection": "DetectMessageEnd", "AsyncAmd": "true", "AsyncAmdStatusCallback": hooks.url}
    sid = (await dial(simulator, **form)).json["sid"]
    await simulator.settle()
    assert hooks.values("AnsweredBy") == ["machine_end_beep"]
    assert set(hooks.received[0].form) == {"CallSid", "AccountSid", "AnsweredBy", "MachineDetectionDuration"}
    assert (await read(simulator, sid))["answered_by"] == "machine_end_beep"


async def test_send_digits_make_machine_detection_ignored(simulator: Simulator) -> None:
    sid = (await dial(simulator, MachineDetection="Enable", SendDigits="ww1#")).json["sid"]
    await simulator.settle()
    assert (await read(simulator, sid))["answered_by"] is None


async def test_machine_detection_without_callback_is_a_warning(simulator: Simulator) -> None:
    await dial(simulator, MachineDetection="Enable", AsyncAmd="true")
    await simulator.settle()
    (alert,) = (await ask(simulator, "GET", "/v1/Alerts")).json["alerts"]
    assert (alert["error_code"], alert["log_level"]) == ("21262", "warning")


async def test_a_record_verb_records_and_transcribes(simulator: Simulator, hooks: Hooks) -> None:
    twiml = f'<Response><Record transcribe="true" transcribeCallback="{hooks.url}/tr"/></Response>'
    sid = (await dial(simulator, Twiml=twiml)).json["sid"]
    await simulator.settle()
    (received,) = hooks.received
    assert received.is_signed()
    assert (received.form["TranscriptionStatus"], received.form["CallSid"]) == ("completed", sid)
    (row,) = (await ask(simulator, "GET", "Transcriptions.json")).json["transcriptions"]
    assert (row["sid"], row["price"], row["status"]) == (received.form["TranscriptionSid"], -0.05, "completed")
    (recording,) = (await ask(simulator, "GET", f"Recordings.json?CallSid={sid}")).json["recordings"]
    assert recording["source"] == "RecordVerb"


async def test_the_url_of_a_call_is_asked_for_twiml_when_that_is_on(simulator: Simulator, hooks: Hooks) -> None:
    simulator.configure(fetch_twiml=True)
    hooks.answers.append(("<Response><Record/></Response>", "text/xml"))
    sid = (await dial(simulator, Twiml="", Url=hooks.url + "/voice")).json["sid"]
    await simulator.settle()
    assert hooks.values("CallStatus") == ["in-progress"]
    assert len((await ask(simulator, "GET", f"Recordings.json?CallSid={sid}")).json["recordings"]) == 1


async def test_a_failed_voice_webhook_becomes_a_notification_of_the_call(simulator: Simulator, hooks: Hooks) -> None:
    simulator.configure(fetch_twiml=True)
    hooks.answers.append(500)
    sid = (await dial(simulator, Twiml="", Url=hooks.url)).json["sid"]
    await simulator.settle()
    listed = (await ask(simulator, "GET", f"Calls/{sid}/Notifications.json?Log=0")).json["notifications"]
    assert [row["error_code"] for row in listed] == ["11200"]


REFUSED = [
    ({"To": ""}, 21201),
    ({"To": "555"}, 21217),
    ({"From": ""}, 21213),
    ({"From": "nobody"}, 21212),
    ({"Twiml": ""}, 21205),
    ({"Url": "nothing"}, 21205),
    ({"Twiml": "x" * 4001}, 20001),
    ({"ApplicationSid": "AP" + "0" * 32}, 21218),
    ({"Timeout": "601"}, 21208),
    ({"SendDigits": "abc"}, 20001),
    ({"MachineDetection": "maybe"}, 20001),
    ({"MachineDetectionTimeout": "2"}, 20001),
    ({"MachineDetectionSpeechThreshold": "6001"}, 20001),
    ({"AsyncAmd": "yes"}, 20001),
    ({"RecordingChannels": "quad"}, 20001),
    ({"StatusCallback": "http://a_b.example.com"}, 21609),
    ({"StatusCallbackEvent": ["hungup"]}, 20001),
    ({"RecordingStatusCallbackEvent": "started"}, 20001),
    ({"Method": "PUT"}, 20001),
    ({"From": "+15005550001"}, 21212),
    ({"To": "+15005550001"}, 21217),
    ({"To": "+15005550002"}, 21214),
    ({"To": "+15005550003"}, 21215),
    ({"To": "+15005550004"}, 21216),
]


@pytest.mark.parametrize(("fields", "code"), REFUSED, ids=[f"{code}-{n}" for n, (_, code) in enumerate(REFUSED)])
async def test_what_twilio_refuses_is_refused_with_its_code(
    simulator: Simulator, fields: dict[str, str | list[str]], code: int
) -> None:
    refused = await dial(simulator, **fields)
    assert (refused.status, refused.code) == (400, code)
    assert not simulator.state.stores[simulator.account_sid].calls.rows


async def test_sip_and_client_addresses_are_called(simulator: Simulator) -> None:
    for to in ("sip:kate@example.com", "client:joey"):
        created = await dial(simulator, To=to, From="client:me")
        assert (created.status, created.json["to"]) == (201, to)
    assert (await dial(simulator, From="client:me")).code == 21212


async def test_test_credentials_allow_only_the_magic_caller() -> None:
    async with Simulator(accounts=[Account(test=True)]) as simulator:
        assert (await dial(simulator, From="+15005550006")).status == 201
        assert (await dial(simulator)).code == 21210


async def test_strict_senders_may_be_verified_numbers() -> None:
    account = Account(caller_ids=("+15550100777",))
    async with Simulator(accounts=[account], settings={"strict_senders": True}) as simulator:
        assert (await dial(simulator, From="+15550100777")).status == 201
        assert (await dial(simulator, From="+15550100778")).code == 21210


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("Status=completed", 2),
        ("Status=busy", 1),
        ("ParentCallSid=CA" + "a" * 32, 1),
        ("StartTime%3E=2026-11-20T12%3A00%3A01Z", 2),
        ("EndTime%3C=2026-11-21", 1),
        ("To=%2B15550100002&From=%2B15550100001", 3),
    ],
)
async def test_calls_are_filtered(simulator: Simulator, query: str, count: int) -> None:
    parent = "CA" + "a" * 32
    at = "2026-11-20T12:00:0{}Z"
    rows = [
        {"created": at.format(0), "end": at.format(9)},
        {"created": at.format(1), "end": "2026-11-22T00:00:00Z"},
        {"created": at.format(2), "status": "busy", "duration": None, "parent_call_sid": parent},
    ]
    simulator.fill("calls", rows=rows)
    assert len((await ask(simulator, "GET", f"Calls.json?{query}")).json["calls"]) == count
