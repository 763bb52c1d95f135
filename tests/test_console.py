"""The console's data over HTTP, from a real process with a real broker."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from connector.console import callbacks, commands, dead_letters, events
from connector.events import now, timestamp
from connector.simulator import Simulator
from connector.twilio.signature import compute
from tests.console_client import CUSTOMER, OLD_SID, Console, yesterday
from tests.producing import produce
from tests.running import configuration, headers_of, read_all, running, values, wait_for_records

PHONE = "+15551234567"
BODY = "a body that nobody is to see"
WATCHES = [{"resource": "messages", "interval": "300ms"}]


SORTED = {
    "commands": commands.SORTED,
    "events": events.SORTED,
    "callbacks": callbacks.SORTED,
    "dead-letters": dead_letters.SORTED,
}


@pytest.fixture
async def console(kafka: str, prefix: str, simulator: Simulator, tmp_path: Path) -> AsyncIterator[Console]:
    document = configuration(simulator, kafka=kafka, prefix=prefix, watches=WATCHES)
    async with running(document, tmp_path) as (process,), aiohttp.ClientSession() as session:
        yield Console(process, session)


def message(**more: Any) -> dict[str, Any]:
    return {"to": CUSTOMER, "from": PHONE, "body": BODY, **more}


async def test_a_command_s_whole_timeline_is_told_without_its_private_parts(console: Console) -> None:
    await console.send(message(), id="c-1")
    await console.timeline("c-1", "succeeded")
    found = await console.until(
        "timelines/c-1", lambda found: {"messages", "message-status"} <= {entry["name"] for entry in found["entries"]}
    )
    # A watch may see the message before the result is written.
    kinds = [entry["kind"] for entry in found["entries"] if entry["kind"] != "event"]
    assert kinds[:3] == ["command", "attempt", "result"]
    assert found["entries"][0]["shown"]["value"] == {"to": "…4321", "from": "…4567", "body": "[28 characters]"}
    whole = json.dumps(found)
    assert BODY not in whole
    assert CUSTOMER not in whole
    assert PHONE not in whole


async def test_commands_are_found_by_outcome_and_by_a_part_of_their_id(console: Console) -> None:
    await console.send(message(), id="good-1")
    await console.send(message(boddy="x"), id="bad-1")
    await console.timeline("good-1", "succeeded")
    await console.timeline("bad-1", "rejected")
    rejected = await console.get("commands", state="rejected")
    assert [row["link"] for row in rejected["commands"]] == ["bad-1"]
    found = await console.get("commands", text="good")
    assert [row["link"] for row in found["commands"]] == ["good-1"]
    assert found["states"] == {"succeeded": 1, "rejected": 1}


async def test_a_command_whose_answer_was_lost_is_shown_with_its_attempt_and_what_became_of_it(
    console: Console, simulator: Simulator
) -> None:
    simulator.fault("lose-answer", "CreateMessage", times=1)
    await console.send(message(), id="lost")
    found = await console.timeline("lost", "succeeded")
    assert found["attempts"] == 1
    (result,) = [entry["shown"]["value"] for entry in found["entries"] if entry["kind"] == "result"]
    assert result["reconciled"]


async def test_an_unknown_timeline_is_not_found(console: Console) -> None:
    async with console.session.get(f"{console.process.admin}/api/timelines/nothing") as answer:
        assert answer.status == 404


async def test_what_is_not_in_memory_is_found_in_the_topics(console: Console, kafka: str, prefix: str) -> None:
    await asyncio.to_thread(produce, kafka, yesterday(prefix))
    await console.until("watches", lambda found: found["live"])
    since = timestamp(now() - timedelta(hours=24))
    for text in ("old-1", "order-old", "order-…ld", CUSTOMER, "654321"):
        lines = await console.search(text, since=since)
        found = [line["found"] for line in lines if "found" in line]
        assert {entry["name"] for entry in found} >= {"message-status"}, text
        # An event that was read before the result that names its SID stands for itself.
        assert {entry["timeline"] for entry in found} - {OLD_SID} == {"old-1"}, text
        assert lines[-1] == {"end": {"found": len(found), "is_cut": False, "timeline": None}}
        assert CUSTOMER not in json.dumps([line for line in lines if "found" in line])
    assert [line for line in await console.search("old-1", since=timestamp(now())) if "found" in line] == []

    async with console.session.get(f"{console.process.admin}/api/timelines/{OLD_SID}") as answer:
        assert answer.status == 404
    await console.search(OLD_SID, timeline="yes")
    timeline = await console.get(f"timelines/{OLD_SID}")
    assert [entry["name"] for entry in timeline["entries"]] == ["send-message", "message-status", "messages"]
    assert (timeline["link"], timeline["state"], timeline["whole"]) == ("old-1", "succeeded", True)
    position = "/".join(map(str, timeline["entries"][0]["position"].values()))
    assert sum("found" in line for line in await console.search(position, timeline="yes")) == 3


async def test_lists_are_sorted_over_all_rows_before_they_are_cut(console: Console) -> None:
    for number in range(3):
        await console.send(message(), id=f"sorted-{2 - number}")
    await console.until("commands", lambda found: found["total"] >= 3, text="sorted-")
    for sort, first in (("id", "sorted-0"), ("-id", "sorted-2"), ("began", "sorted-2"), ("", "sorted-0")):
        found = await console.get("commands", text="sorted-", sort=sort, limit="1")
        assert [row["id"] for row in found["commands"]] == [first], sort
        assert found["total"] == 3
    for path in ("commands", "events", "callbacks", "dead-letters"):
        async with console.session.get(f"{console.process.admin}/api/{path}", params={"sort": "nothing"}) as answer:
            assert (answer.status, "sort must be one of" in (await answer.json())["error"]) == (422, True)
    for path, names in SORTED.items():
        for name in names:
            assert await console.get(path, sort=name)
            assert await console.get(path, sort=f"-{name}")


async def test_a_search_for_hardly_anything_is_refused(console: Console) -> None:
    for text in ("", "abc", "***"):
        async with console.session.get(f"{console.process.admin}/api/search", params={"text": text}) as answer:
            assert answer.status == 422
            assert "topic/partition/offset" in (await answer.json())["error"]


async def test_a_form_is_checked_before_anything_is_written(console: Console) -> None:
    wrong = {"command": "send-message", "value": {"to": "nobody", "boddy": "x"}, "connection": "other", "id": "x" * 300}
    checked = await console.post("commands/check", wrong)
    assert {mistake["field"] for mistake in checked["mistakes"]} == {"to", "boddy", "connection", "id"}
    refused = await console.post("commands", wrong, status=422)
    assert refused["mistakes"] == checked["mistakes"]
    good = await console.post("commands/check", {"command": "send-message", "value": message(), "id": "form-1"})
    assert good["mistakes"] == []
    assert (good["summary"]["makes"], good["summary"]["id"]) == (True, "form-1")
    asked = {"command": "list", "value": {"resource": "messages"}}
    assert (await console.post("commands/check", asked))["summary"]["changes"] is False


async def test_a_dead_letter_is_edited_and_replayed(console: Console, kafka: str, prefix: str) -> None:
    await console.send(message(boddy="x"), id="typo")
    (letter,) = (await console.until("dead-letters", lambda found: found["letters"]))["letters"]
    place = f"dead-letters/{letter['partition']}/{letter['offset']}"
    assert letter["replayable"]
    assert "did you mean body?" in letter["message"]
    assert BODY not in json.dumps(await console.get(place))

    content = await console.get(place, content="yes")
    assert BODY in content["value"]
    answer = await console.post(f"{place}/replay", {"value": json.dumps(message())})
    assert answer["timeline"] == "typo#replay-1"
    found = await console.timeline("typo#replay-1", "succeeded")
    assert found["command"] == "send-message"
    results = values(await wait_for_records(kafka, f"{prefix}.results.send-message", 2))
    assert [result["outcome"] for result in results] == ["rejected", "succeeded"]
    headers = headers_of((await read_all(kafka, f"{prefix}.commands.send-message"))[-1])
    assert headers == {"id": "typo", "dlq.replay.count": "1"}
    await console.until("dead-letters", lambda found: found["letters"][0]["verdict"]["decision"] == "replayed")


async def test_a_letter_is_replayed_once_unless_somebody_insists(console: Console, simulator: Simulator) -> None:
    await console.send(message(boddy="x"), id="typo")
    (letter,) = (await console.until("dead-letters", lambda found: found["letters"]))["letters"]
    place = f"dead-letters/{letter['partition']}/{letter['offset']}/replay"
    await console.post(place, {"value": json.dumps(message())})
    refused = await console.post(place, {"value": json.dumps(message())}, status=422)
    assert "It was replayed already by console" in refused["error"]
    await console.timeline("typo#replay-1", "succeeded")
    assert len(simulator.journal.of("CreateMessage")) == 1
    insisted = await console.post(place, {"value": json.dumps(message()), "again": True})
    assert insisted["timeline"] == "typo#replay-2"
    await console.timeline("typo#replay-2", "succeeded")
    assert len(simulator.journal.of("CreateMessage")) == 2


async def test_a_letter_that_is_not_there_is_not_found_at_once(console: Console) -> None:
    await console.send(message(boddy="x"))
    (letter,) = (await console.until("dead-letters", lambda found: found["letters"]))["letters"]
    partition, offset = letter["partition"], letter["offset"]
    # Behind a letter is the marker of its transaction.
    for place in (f"{partition}/{offset + 1}", f"{partition}/{offset + 99}", "99/0"):
        asked = time.monotonic()
        async with console.session.get(f"{console.process.admin}/api/dead-letters/{place}") as answer:
            assert answer.status == 404
        assert time.monotonic() - asked < 2, place


async def test_a_discarded_letter_keeps_its_note(console: Console) -> None:
    await console.send(b"\xff not JSON")
    (letter,) = (await console.until("dead-letters", lambda found: found["letters"]))["letters"]
    place = f"dead-letters/{letter['partition']}/{letter['offset']}"
    await console.post(f"{place}/discard", {"note": "sent by a test"})
    found = await console.until("dead-letters", lambda found: found["letters"][0]["verdict"])
    verdict = found["letters"][0]["verdict"]
    assert (verdict["decision"], verdict["note"], verdict["by"]) == ("discarded", "sent by a test", "console")


async def test_a_watch_is_paused_and_resumed(console: Console) -> None:
    await console.until("watches", lambda found: found["watches"][0]["state"] == "watching")
    answer = await console.post("watches/messages/pause")
    assert answer["done"]
    await console.until("watches", lambda found: found["watches"][0]["state"] == "paused")
    refused = await console.post("watches/messages/rescan")
    assert not refused["done"]
    await console.post("watches/messages/resume")
    (watch,) = (await console.until("watches", lambda found: found["watches"][0]["state"] == "watching"))["watches"]
    assert watch["here"]
    assert watch["settings"]["interval"] == "300ms"


async def test_a_rewind_needs_a_time(console: Console) -> None:
    await console.until("watches", lambda found: found["watches"][0]["state"] == "watching")
    assert "2026-01-31" in (await console.post("watches/messages/rewind", {"to": "yesterday"}, status=422))["error"]
    assert (await console.post("watches/messages/rewind", {"to": "2026-11-01T00:00:00Z"}))["done"]


async def deliver(console: Console, simulator: Simulator, url: str, *, to: str = "", token: str = "") -> int:
    """Deliver a status callback that is signed for `url` to `to`."""
    form = {
        "MessageSid": "SM" + "0" * 32,
        "MessageStatus": "delivered",
        "AccountSid": simulator.account_sid,
        "To": CUSTOMER,
        "Body": BODY,
    }
    headers = {"X-Twilio-Signature": compute(url, form.items(), token or simulator.auth_token)}
    async with console.session.post(to or url, data=form, headers=headers) as answer:
        return answer.status


async def refused(console: Console) -> Any:
    (row,) = (await console.until("callbacks", lambda found: found["callbacks"], verdict="refused"))["callbacks"]
    return await console.get(f"callbacks/{row['number']}"), row


async def test_why_a_callback_with_a_wrong_token_was_refused(console: Console, simulator: Simulator) -> None:
    url = f"{console.process.callbacks}/callbacks/message-status"
    assert await deliver(console, simulator, url, token="another-token") == 403
    found, row = await refused(console)
    assert row["reason"] == "signature wrong"
    assert "the auth token is another one" in found["advice"]
    assert found["attempts"][0]["url"] == url
    assert not any(attempt["matches"] for attempt in found["attempts"])
    whole = json.dumps(found)
    assert BODY not in whole
    assert CUSTOMER not in whole
    assert len(found["signature"]) == 5
    assert simulator.auth_token not in whole

    revealed = await console.get(f"callbacks/{row['number']}", content="yes")
    assert revealed["attempts"][0]["signed"].startswith(url + "AccountSid")
    assert BODY in revealed["attempts"][0]["signed"]
    assert len(revealed["signature"]) == 5
    await console.post(f"callbacks/{row['number']}/replay", status=422)


async def test_a_callback_that_was_signed_for_another_address_names_the_right_public_url(
    console: Console, simulator: Simulator
) -> None:
    own = f"{console.process.callbacks}/callbacks/message-status"
    other = own.replace("http://", "https://")
    assert await deliver(console, simulator, other, to=own) == 403
    found, _ = await refused(console)
    assert found["matching_base"] == console.process.callbacks.replace("http://", "https://")
    assert "set callbacks.public_url to https://" in found["advice"]


async def test_a_stored_callback_is_delivered_again_with_the_same_event_id(
    console: Console, simulator: Simulator, kafka: str, prefix: str
) -> None:
    url = f"{console.process.callbacks}/callbacks/message-status"
    assert await deliver(console, simulator, url) == 204
    rows = await console.until("callbacks", lambda found: found["callbacks"] and found["callbacks"][0]["number"])
    number = rows["callbacks"][0]["number"]
    position = "/".join(map(str, rows["callbacks"][0]["position"].values()))
    record = await console.get(f"callbacks/{position}")
    assert (record["number"], record["shown"]["value"]["message_status"]) == (number, "delivered")
    assert BODY not in json.dumps(record)
    found = await console.get(f"callbacks/{number}")
    assert found["stored"]
    assert found["replayable"]
    answer = await console.post(f"callbacks/{number}/replay")
    assert answer["done"], answer
    records = await wait_for_records(kafka, f"{prefix}.message-status", 2)
    assert len({headers_of(record)["ce_id"] for record in records}) == 1


async def test_settings_tell_their_origins_and_no_secret(console: Console, simulator: Simulator) -> None:
    found = {row["key"]: row for row in (await console.get("settings"))["settings"]}
    assert found["connections.default.auth_token"]["value"] == "********"
    assert ".yaml:" in found["kafka.topic_prefix"]["origin"]
    assert found["commands.max_in_flight"]["origin"] == "default"
    assert simulator.auth_token not in json.dumps(found)


async def test_a_command_is_sent_from_a_form(console: Console) -> None:
    schemas = await console.get("schemas")
    assert "to" in schemas["commands"]["send-message"]["properties"]
    assert schemas["connections"] == ["default"]
    answer = await console.post("commands", {"command": "send-message", "value": message(), "key": "k"})
    found = await console.timeline(answer["id"], "succeeded")
    assert found["command"] == "send-message"
    refusal = await console.post("commands", {"command": "send-mesage", "value": {}}, status=422)
    assert "is no command" in refusal["error"]


async def test_the_stream_tells_rates_and_states_every_second(console: Console) -> None:
    await console.send(message(), id="c-1")
    async with console.session.get(f"{console.process.admin}/api/stream") as answer, asyncio.timeout(30):
        assert answer.content_type == "text/event-stream"
        async for line in answer.content:
            if line.startswith(b"data: "):
                tick = json.loads(line.removeprefix(b"data: "))
                if tick["states"].get("succeeded") and sum(tick["rates"]["callbacks"]["bars"]):
                    break
    assert sum(tick["rates"]["commands"]["bars"]) == 1
    assert sum(tick["rates"]["results"]["bars"]) == 1
    assert tick["problems"] == []


async def test_a_stream_does_not_keep_the_process_from_ending(console: Console) -> None:
    async with console.session.get(f"{console.process.admin}/api/stream") as answer:
        await answer.content.readline()
        assert await console.process.stop() == 0
