"""The official SDK performs every operation; each answer is checked against Twilio's OpenAPI on the way."""

from datetime import UTC, datetime, timedelta

import pytest
from twilio.base.exceptions import TwilioRestException

from connector.simulator import (
    API_KEY,
    API_SECRET,
    MESSAGING_SERVICE_SID,
    OTHER_PHONE_NUMBER,
    PHONE_NUMBER,
    Account,
    ApiKey,
    Simulator,
)
from tests.simulator.simulator_world import Sdk, ask
from tests.simulator.twilio_schemas import operations

TO = "+15550100002"


async def message_operations(simulator: Simulator, sdk: Sdk) -> None:
    messages = sdk.client.messages
    sent = await sdk.run(messages.create, to=TO, from_=PHONE_NUMBER, body="hi", media_url=["https://example.com/a.png"])
    scheduled = await sdk.run(
        messages.create,
        to=TO,
        messaging_service_sid=MESSAGING_SERVICE_SID,
        body="later",
        schedule_type="fixed",
        send_at=datetime.now(UTC) + timedelta(hours=1),
    )
    await sdk.run(messages(scheduled.sid).update, status="canceled")
    await sdk.run(
        messages.create, to=TO, messaging_service_sid=MESSAGING_SERVICE_SID, body="soon", provide_feedback=True
    )
    simulator.configure(early_delete="allow")
    assert (await sdk.run(messages(sent.sid).fetch)).sid == sent.sid
    await sdk.run(messages(sent.sid).feedback.create, outcome="confirmed")
    media = await sdk.run(messages(sent.sid).media.list)
    await sdk.run(messages(sent.sid).media(media[0].sid).fetch)
    await sdk.run(messages(sent.sid).media(media[0].sid).delete)
    await sdk.run(messages(sent.sid).update, body="")
    await sdk.run(messages.list, to=TO, from_=PHONE_NUMBER, date_sent_after=datetime.now(UTC) - timedelta(days=1))
    await sdk.run(messages(sent.sid).delete)


async def call_operations(simulator: Simulator, sdk: Sdk) -> None:
    simulator.configure(auto_advance=False)
    calls = sdk.client.calls
    call = await sdk.run(calls.create, to=TO, from_=PHONE_NUMBER, twiml="<Response/>", record=True, send_digits="1#")
    simulator.set_status(call.sid, "in-progress")
    await sdk.run(calls(call.sid).fetch)
    started = await sdk.run(calls(call.sid).recordings.create)
    await sdk.run(calls(call.sid).recordings(started.sid).fetch)
    await sdk.run(calls(call.sid).recordings(started.sid).update, status="paused")
    await sdk.run(calls(call.sid).recordings(started.sid).update, status="in-progress")
    await sdk.run(calls(call.sid).recordings("Twilio.CURRENT").update, status="stopped")
    await sdk.run(calls(call.sid).recordings.list)
    simulator.set_status(started.sid, "completed")
    await sdk.run(calls(call.sid).recordings(started.sid).delete)
    simulator.fill("notifications", count=1, call_sid=call.sid)
    notification = (await sdk.run(calls(call.sid).notifications.list))[0]
    await sdk.run(calls(call.sid).notifications(notification.sid).fetch)
    await sdk.run(calls(call.sid).events.list)
    await sdk.run(calls(call.sid).update, status="completed")
    await sdk.run(calls.list, status="completed", to=TO, start_time_after=datetime.now(UTC) - timedelta(days=1))
    await sdk.run(calls(call.sid).delete)


async def recording_operations(simulator: Simulator, sdk: Sdk) -> None:
    conference = "CF" + "0" * 32
    (first,) = simulator.fill("recordings", count=1, conference_sid=conference)
    (second,) = simulator.fill("recordings", count=1, conference_sid=conference, status="in-progress", duration=None)
    simulator.fill("transcriptions", count=2, recording_sid=first, price=-0.05)
    recordings, conferences = sdk.client.recordings, sdk.client.conferences
    assert len(await sdk.run(recordings.list)) == 2
    await sdk.run(recordings(first).fetch)
    await sdk.run(conferences(conference).recordings.list)
    await sdk.run(conferences(conference).recordings(second).fetch)
    await sdk.run(conferences(conference).recordings(second).update, status="stopped")
    await simulator.settle()
    await sdk.run(conferences(conference).recordings(second).delete)
    of_recording = await sdk.run(recordings(first).transcriptions.list)
    await sdk.run(recordings(first).transcriptions(of_recording[0].sid).fetch)
    await sdk.run(recordings(first).transcriptions(of_recording[0].sid).delete)
    of_account = await sdk.run(sdk.client.transcriptions.list)
    await sdk.run(sdk.client.transcriptions(of_account[0].sid).fetch)
    await sdk.run(sdk.client.transcriptions(of_account[0].sid).delete)
    await sdk.run(recordings(first).delete)
    assert [r.status for r in await sdk.run(recordings.list, include_soft_deleted=True)] == ["deleted", "deleted"]


async def other_operations(simulator: Simulator, sdk: Sdk) -> None:
    simulator.fill("alerts", count=3)
    alerts = await sdk.run(sdk.client.monitor.v1.alerts.list, log_level="error")
    await sdk.run(sdk.client.monitor.v1.alerts(alerts[0].sid).fetch)
    simulator.fill("notifications", count=1)
    notifications = await sdk.run(sdk.client.notifications.list, log=0)
    await sdk.run(sdk.client.notifications(notifications[0].sid).fetch)
    numbers = sdk.client.incoming_phone_numbers
    bought = await sdk.run(numbers.create, area_code="500", friendly_name="mine")
    await sdk.run(numbers(bought.sid).update, sms_url="https://hooks.example.com/in", voice_url="https://example.com/v")
    await sdk.run(numbers(bought.sid).fetch)
    assert len(await sdk.run(numbers.list)) == 3
    await sdk.run(numbers(bought.sid).delete)
    verified = await sdk.run(sdk.client.outgoing_caller_ids.list)
    await sdk.run(sdk.client.outgoing_caller_ids(verified[0].sid).fetch)
    applications = sdk.client.applications
    made = await sdk.run(applications.create, friendly_name="a", message_status_callback="https://example.com/cb")
    await sdk.run(applications(made.sid).update, voice_url="https://example.com/v")
    await sdk.run(applications(made.sid).fetch)
    await sdk.run(applications.list, friendly_name="a")
    await sdk.run(applications(made.sid).delete)


async def product_operations(simulator: Simulator, sdk: Sdk) -> None:
    assert simulator.account_sid == sdk.client.account_sid
    conference, call, conversation = "CF" + "1" * 32, "CA" + "1" * 32, "CH" + "1" * 32
    service = sdk.client.verify.v2.services("VA" + "1" * 32)
    started = await sdk.run(service.verifications.create, to=TO, channel="sms")
    again = await sdk.run(service.verifications.create, to=TO, channel="sms")
    assert (again.sid, len(again.send_code_attempts)) == (started.sid, 2)
    wrong = await sdk.run(service.verification_checks.create, to=TO, code="999999")
    right = await sdk.run(service.verification_checks.create, verification_sid=started.sid, code="123456")
    assert [(one.status, one.valid) for one in (wrong, right)] == [("pending", False), ("approved", True)]
    with pytest.raises(TwilioRestException, match="not found"):
        await sdk.run(service.verification_checks.create, to=TO, code="123456")
    number = sdk.client.lookups.v2.phone_numbers(TO)
    assert (await sdk.run(number.fetch, fields="line_type_intelligence")).line_type_intelligence["type"] == "mobile"
    assert (await sdk.run(sdk.client.conferences(conference).participants(call).update, muted=True)).muted
    assert (await sdk.run(sdk.client.conferences(conference).update, status="completed")).status == "completed"
    messages = sdk.client.conversations.v1.conversations(conversation).messages
    sent = [(await sdk.run(messages.create, body=f"{n}", author="ann")).sid for n in range(3)]
    assert [one.sid for one in await sdk.run(messages.list, page_size=2)] == sent
    assert [one.sid for one in await sdk.run(messages.list, order="desc", page_size=2)] == sent[::-1]


async def account_operations(simulator: Simulator, sdk: Sdk) -> None:
    accounts = sdk.client.api.v2010.accounts
    child = await sdk.run(accounts.create, friendly_name="child")
    await sdk.run(accounts(child.sid).fetch)
    await sdk.run(accounts(child.sid).update, status="suspended")
    assert len(await sdk.run(accounts.list)) == 2
    key = await sdk.run(sdk.client.new_keys.create, friendly_name="k")
    await sdk.run(sdk.client.keys(key.sid).fetch)
    await sdk.run(sdk.client.keys.list)
    await sdk.run(sdk.client.keys(key.sid).delete)
    assert simulator.account.api_keys[0].sid == API_KEY


async def list_operations(simulator: Simulator, sdk: Sdk) -> None:
    """The lists that are only read: all of each, and one row where there is an operation for it."""
    client = sdk.client
    (conference,) = simulator.fill("conferences", count=1, status="completed")
    (queue,) = simulator.fill("queues", count=1)
    simulator.fill("participants", count=1, parent=conference)
    simulator.fill("queue_members", count=1, parent=queue)
    simulator.fill("verification_attempts", count=1)
    simulator.fill("conversations", count=1, status="active")
    simulator.fill("messaging_services", count=1)
    simulator.fill("usage_records", count=1, name="sms-outbound")
    (flow,) = simulator.fill("studio_flows", count=1)
    simulator.fill("studio_executions", count=1, parent=flow)
    yesterday = datetime.now(UTC) - timedelta(days=1)
    (shown,) = await sdk.run(client.conferences.list, date_created_after=yesterday.date(), status="completed")
    assert (await sdk.run(client.conferences(shown.sid).fetch)).sid == conference
    participants = client.conferences(conference).participants
    (participant,) = await sdk.run(participants.list, muted=False, hold=False, coaching=False)
    await sdk.run(participants(participant.call_sid).fetch)
    assert [found.sid for found in await sdk.run(client.queues.list)] == [queue]
    await sdk.run(client.queues(queue).fetch)
    assert len(await sdk.run(client.queues(queue).members.list)) == 1
    (attempt,) = await sdk.run(
        client.verify.v2.verification_attempts.list,
        date_created_after=yesterday,
        channel="sms",
        country="US",
        status="unconverted",
    )
    await sdk.run(client.verify.v2.verification_attempts(attempt.sid).fetch)
    (talk,) = await sdk.run(client.conversations.v1.conversations.list, state="active")
    await sdk.run(client.conversations.v1.conversations(talk.sid).fetch)
    simulator.fill("conversation_messages", count=1, parent=talk.sid)
    talked = client.conversations.v1.conversations(talk.sid).messages
    (said,) = await sdk.run(talked.list, order="desc")
    await sdk.run(talked(said.sid).fetch)
    usage = await sdk.run(client.usage.records.daily.list, category="sms-outbound", start_date=yesterday.date())
    assert [used.category for used in usage] == ["sms-outbound"]
    assert [found.sid for found in await sdk.run(client.studio.v2.flows.list)] == [flow]
    await sdk.run(client.studio.v2.flows(flow).fetch)
    executions = client.studio.v2.flows(flow).executions
    (execution,) = await sdk.run(executions.list, date_created_from=yesterday, status="active")
    await sdk.run(executions(execution.sid).fetch)
    (service,) = await sdk.run(client.messaging.v1.services.list)
    await sdk.run(client.messaging.v1.services(service.sid).fetch)


async def test_every_operation_of_the_sdk_works_and_every_answer_matches_twilios_schema() -> None:
    account = Account(caller_ids=("+15550100777",))
    async with Simulator(seed=1, accounts=[account]) as simulator, Sdk(simulator) as sdk:
        for perform in (
            message_operations,
            recording_operations,
            other_operations,
            account_operations,
            call_operations,
            list_operations,
            product_operations,
        ):
            await perform(simulator, sdk)
        assert set(operations()) == set(sdk.http.checked) - {""}
        assert simulator.journal.unknown_parameters() == set()


async def test_the_sdk_walks_a_list_through_all_its_pages(simulator: Simulator, sdk: Sdk) -> None:
    made = simulator.fill("messages", count=125)
    listed = await sdk.run(sdk.client.messages.list, page_size=50)
    assert [message.sid for message in listed] == made[::-1]
    assert len(simulator.journal.of("ListMessage")) == 3


async def test_the_sdk_walks_alerts_through_absolute_links(simulator: Simulator, sdk: Sdk) -> None:
    made = simulator.fill("alerts", count=120)
    listed = await sdk.run(sdk.client.monitor.v1.alerts.list, page_size=50)
    assert [alert.sid for alert in listed] == made[::-1]


async def test_the_sdk_goes_back_to_the_previous_page(simulator: Simulator, sdk: Sdk) -> None:
    simulator.fill("messages", count=30)
    first = await sdk.run(sdk.client.messages.page, page_size=10)
    shown = [message.sid for message in first]
    second = await sdk.run(first.next_page)
    assert [message.sid for message in await sdk.run(second.previous_page)] == shown


async def test_an_api_key_reads_messages_but_a_standard_one_not_the_account(simulator: Simulator) -> None:
    async with Sdk(simulator, user=API_KEY, password=API_SECRET) as sdk:
        assert await sdk.run(sdk.client.messages.list) == []
        with pytest.raises(TwilioRestException) as refused:
            await sdk.run(sdk.client.api.v2010.accounts(simulator.account_sid).fetch)
        assert (refused.value.status, refused.value.code) == (401, 20003)


async def test_a_main_api_key_reads_the_account() -> None:
    account = Account(api_keys=(ApiKey(kind="main"),))
    async with Simulator(accounts=[account]) as simulator, Sdk(simulator, user=API_KEY, password=API_SECRET) as sdk:
        assert (await sdk.run(sdk.client.api.v2010.accounts(simulator.account_sid).fetch)).type == "Full"


async def test_a_parent_acts_on_its_subaccount_but_not_the_reverse() -> None:
    child = Account(sid="AC" + "c" * 32, auth_token="child", parent=Account().sid, phone_numbers=(OTHER_PHONE_NUMBER,))
    async with Simulator(accounts=[Account(), child]) as simulator:
        async with Sdk(simulator, user=simulator.account_sid, account=child.sid) as parent:
            sent = await parent.run(parent.client.messages.create, to=TO, from_=OTHER_PHONE_NUMBER, body="hi")
            assert sent.account_sid == child.sid
        path = f"/2010-04-01/Accounts/{simulator.account_sid}/Messages.json"
        refused = await ask(simulator, "GET", path, user=child.sid, password="child")
        assert (refused.status, refused.code) == (401, 20003)


async def test_a_suspended_account_is_refused() -> None:
    async with Simulator(accounts=[Account(status="suspended")]) as simulator:
        refused = await ask(simulator, "GET", "Messages.json")
        assert (refused.status, refused.code) == (403, 20005)
