"""Odd answers of Twilio's to commands: each spoils only its own result, which fits its schema all the same."""

import base64
import json
from typing import Any

import pytest
from structlog.typing import EventDict

from connector.executor import execution
from connector.simulator import ACCOUNT_SID
from tests.executing import Executing, executing, message
from tests.result_schemas import check
from tests.running import headers_of

GET = {"resource": "message"}
CREATE = "CreateMessage"


async def create(running: Executing, name: str, **answer: Any) -> None:
    """Send a message whose answer is odd."""
    running.simulator.fault("odd-answer", CREATE, match={"Body": name}, **answer)
    await running.send(message(name), key=name, id=name)


async def by_id(running: Executing, count: int, command: str = "send-message") -> dict[str, dict[str, Any]]:
    """The results by their command's id, all of them fit for their schema."""
    results = await running.results(count, command=command)
    for result in results:
        check(result)
    return {result["command"]["id"]: result for result in results}


async def test_a_create_that_shows_its_sid_has_succeeded_however_odd_the_rest(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix) as running:
        await create(running, "cut", status=201, swap={'"cut"': r'"cut \ud83d"'})
        await create(running, "number", status=201, swap={'"num_segments":"1"': '"num_segments":1e999'})
        await create(running, "unfit", status=200, swap={'"outbound-api"': '["outbound-api"]'})
        await running.send(message("innocent"), id="innocent")
        found = await by_id(running, 4)
        sids = {entry.sid for entry in running.simulator.journal.of(CREATE)}
        subjects = {headers_of(one)["ce_subject"] for one in await running.records("results.send-message", 4)}
    assert {one["outcome"] for one in found.values()} == {"succeeded"}
    assert {one["reconciled"] for one in found.values()} == {False}
    assert found["cut"]["bundles"][0]["body"] == "cut \ufffd"
    for name, field in (("unfit", "direction"), ("number", "num_segments")):
        assert (found[name]["bundles"], found[name]["error"]["kind"]) == ([], "left-out")
        assert f"does not fit its schema ({field})" in found[name]["error"]["message"]
    assert subjects == sids


NO_SID = {
    "empty": "",
    "blank": " \n",
    "null": "null",
    "no sid": "{}",
    "sid null": '{"sid":null}',
    "sid a number": '{"sid":17}',
    "sid not one": '{"sid":"SM1"}',
    "list": '[{"sid":"SM0123456789abcdef0123456789abcdef"}]',
    "text": '"SM0123456789abcdef0123456789abcdef"',
    "page": "<html>It works</html>",
    "account": json.dumps({"sid": ACCOUNT_SID}),
    "deep": "[" * 5000,
}


async def test_a_create_without_a_sid_in_its_answer_is_looked_up(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix) as running:
        for name, body in NO_SID.items():
            await create(running, name, status=201, body=body)
        found = await by_id(running, len(NO_SID))
        assert sorted(running.created()) == sorted(NO_SID)
    for name in NO_SID:
        assert (found[name]["outcome"], found[name]["reconciled"]) == ("succeeded", True), name
        assert found[name]["bundles"][0]["body"] == name


async def test_a_create_without_a_sid_that_the_list_does_not_show_is_unknown(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix) as running:
        running.simulator.fault("late-visibility", CREATE, seconds=600)
        await create(running, "empty", status=200, body="")
        await create(running, "null", status=201, body='{"sid":null}')
        found = await by_id(running, 2)
    assert {one["outcome"] for one in found.values()} == {"unknown"}
    assert {one["error"]["kind"] for one in found.values()} == {"in-doubt"}


REFUSALS = {
    "23 digits": {"code": "1" * 23, "message": "no"},
    "a number of 23 digits": {"code": int("1" * 23), "message": "no"},
    "negative": {"code": -5, "message": "no"},
    "true": {"code": True, "message": "no"},
    "a list": {"code": [21211], "message": "no"},
    "an object as message": {"code": 21211, "message": {"a": "no"}, "more_info": {"b": 1}},
    "a megabyte": {"code": 21211, "message": "é" * 500_000, "more_info": "x" * 500_000},
    "half a surrogate pair": {"code": 21211, "message": "cut \ud83d"},
    "no object": ["no"],
}


async def test_a_refusal_is_failed_whatever_it_says(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix) as running:
        for name, body in REFUSALS.items():
            await create(running, name, status=400, body=json.dumps(body))
        long = {"Twilio-Request-Id": "R" * 7_000}
        await create(running, "a long request id", status=400, body="{}", headers=long)
        found = await by_id(running, len(REFUSALS) + 1)
    assert {one["outcome"] for one in found.values()} == {"failed"}
    codes = {name: one["error"]["code"] for name, one in found.items()}
    assert {name for name, code in codes.items() if code == 21211} == {
        "an object as message",
        "half a surrogate pair",
    }
    assert set(codes.values()) == {21211, None}
    assert all(len(one["error"]["more_info"] or "") <= 300 for one in found.values())
    assert len(found["a long request id"]["request_id"]) <= 300


UNUSABLE = {
    "null": "null",
    "empty": "",
    "list": "[]",
    "not JSON": "soon",
    "no SID": '{"body":"x"}',
    "another": '{"sid":"SM0123456789abcdef0123456789abcdef"}',
    "unfit": '{"sid":"SM0123456789abcdef0123456789abcdef","date_created":"soon"}',
}


async def test_reading_that_stays_unreadable_ends_with_its_reason_and_the_next_of_its_key_goes_on(
    kafka: str, prefix: str, monkeypatch: pytest.MonkeyPatch, logged: list[EventDict]
) -> None:
    monkeypatch.setattr(execution, "UNREADABLE_TRIES", 3)
    async with executing(kafka, prefix, also=["get"]) as running:
        await running.send(message("here"))
        sid = (await running.results(1))[0]["bundles"][0]["sid"]
        for number, body in enumerate(UNUSABLE.values()):
            running.simulator.fault("odd-answer", "FetchMessage", status=200, body=body, skip=0, times=3)
            await running.send(GET | {"sid": sid}, command="get", key="one", id=f"{number}")
            await running.results(number + 1, command="get")
        await running.send(GET | {"sid": sid}, command="get", key="one", id="next")
        found = await by_id(running, len(UNUSABLE) + 1, "get")
    assert found.pop("next")["outcome"] == "succeeded"
    for (name, _), one in zip(UNUSABLE.items(), found.values(), strict=True):
        assert (one["outcome"], one["attempts"], one["bundles"]) == ("failed", 3, []), name
        assert "Twilio answered 200 with" in one["error"]["message"]
        assert one["error"]["retryable"] is True
    assert f" instead of {sid}" in found["5"]["error"]["message"]
    assert "(date_created)" in found["6"]["error"]["message"]
    assert [line["event"] for line in logged].count("command waits") == len(UNUSABLE)


async def test_an_update_whose_answer_stays_unreadable_is_unknown(
    kafka: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "UNREADABLE_TRIES", 2)
    async with executing(kafka, prefix, also=["update"]) as running:
        await running.send(message("here"))
        sid = (await running.results(1))[0]["bundles"][0]["sid"]
        await running.simulator.settle()
        running.simulator.fault("odd-answer", "UpdateMessage", status=200, body="")
        await running.send({"resource": "message", "sid": sid, "body": ""}, command="update", id="update")
        found = await by_id(running, 1, "update")
    assert found["update"]["outcome"] == "unknown"
    assert (
        "without a SID" in found["update"]["error"]["message"] or "not an object" in found["update"]["error"]["message"]
    )


async def test_a_delete_that_is_answered_with_a_page_is_asked_for_again(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix, also=["delete"]) as running:
        await running.send(message("here"))
        sid = (await running.results(1))[0]["bundles"][0]["sid"]
        await running.simulator.settle()
        running.simulator.fault("odd-answer", "DeleteMessage", status=200, body="<html>Sign in</html>", times=1)
        await running.send({"resource": "message", "sid": sid}, command="delete", id="page")
        found = await by_id(running, 1, "delete")
    # Twilio says then that it is gone.
    assert (found["page"]["outcome"], found["page"]["attempts"]) == ("succeeded", 2)


async def test_an_update_that_is_refused_after_a_lost_answer_is_unknown(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix, also=["update"]) as running:
        await running.send(message("here"))
        sid = (await running.results(1))[0]["bundles"][0]["sid"]
        await running.simulator.settle()
        running.simulator.fault("lose-answer", "UpdateMessage", times=1)
        running.simulator.fault("error", "UpdateMessage", status=400, code=30409, skip=1)
        await running.send({"resource": "message", "sid": sid, "body": ""}, command="update", id="update")
        found = await by_id(running, 1, "update")
    assert (found["update"]["outcome"], found["update"]["error"]["code"]) == ("unknown", 30409)


async def test_a_download_that_always_breaks_off_ends_and_the_next_of_its_key_goes_on(
    kafka: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "UNREADABLE_TRIES", 2)
    async with executing(kafka, prefix, also=["download-recording"]) as running:
        sid, other = running.simulator.fill("recordings", count=2, duration=20)
        running.simulator.fault("cut-answer", "FetchRecordingMedia", times=2)
        await running.send({"sid": sid}, command="download-recording", key="one", id="cut")
        await running.send({"sid": other}, command="download-recording", key="one", id="next")
        found = await by_id(running, 2, "download-recording")
        # Kafka takes no chunk of the third.
        await running.configure_topic(running.topic("recording-media"), max_message_bytes="1000")
        await running.send({"sid": sid}, command="download-recording", key="one", id="refused")
        found = await by_id(running, 3, "download-recording")
    assert {name: (one["outcome"], one["attempts"]) for name, one in found.items()} == {
        "cut": ("failed", 2),
        "next": ("succeeded", 1),
        "refused": ("failed", 1),
    }
    assert "broke off" in found["cut"]["error"]["message"]
    assert "Kafka refuses the recording" in found["refused"]["error"]["message"]


async def test_rows_of_a_list_that_do_not_fit_are_left_out_and_named(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix, also=["call-api", "list"]) as running:
        running.simulator.fill("messages", count=5, body="x")
        account = running.simulator.account_sid
        sids = [f"SM{number:f>32x}" for number in range(3)]
        odd: list[Any] = [
            None,
            5,
            [],
            {},
            {"sid": sids[0], "date_created": "soon"},
            {"sid": sids[1], "body": "x" * 600_000},
        ]
        rows = [*odd, {"sid": sids[2], "num_media": "many"}, {"sid": sids[0], "body": "fine", "account_sid": account}]
        body = json.dumps({"messages": rows, "next_page_uri": None})
        running.simulator.fault("odd-answer", "ListMessage", status=200, body=body, times=1)
        await running.send({"resource": "messages"}, command="list", id="odd")
        await running.send({"resource": "messages"}, command="list", id="innocent")
        found = await by_id(running, 2, "list")
        url = f"/2010-04-01/Accounts/{account}/Messages.json"
        for number, body in enumerate((json.dumps("x" * 3_000_000), "<" * 3_000_000)):
            running.simulator.fault("odd-answer", "ListMessage", status=200, body=body, times=1)
            await running.send({"url": url}, command="call-api", id=f"{number}")
            await running.results(number + 1, command="call-api")
        whole = await by_id(running, 2, "call-api")
    assert {one["outcome"] for one in (*found.values(), *whole.values())} == {"succeeded"}
    assert {(one["error"]["kind"], len(one["bundles"])) for one in whole.values()} == {("too-large", 0)}
    assert (len(found["innocent"]["bundles"]), found["innocent"]["error"]) == (5, None)
    assert [bundle["body"] for bundle in found["odd"]["bundles"]] == ["fine"]
    error = found["odd"]["error"]
    assert error["kind"] == "left-out"
    for named in (f"{sids[0]} does not fit its schema (date_created)", f"{sids[1]} has 600", f"{sids[2]} does not fit"):
        assert named in error["message"], error["message"]


async def test_a_result_never_holds_our_credentials(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix, also=["call-api"]) as running:
        user, token = running.simulator.account_sid, running.simulator.auth_token
        basic = base64.b64encode(f"{user}:{token}".encode()).decode()
        echoes = {
            "object": json.dumps({"headers": {"Authorization": f"Basic {basic}"}}),
            "text": f"GET / HTTP/1.1\r\nAuthorization: Basic {basic}",
            "escaped": json.dumps({"a": basic}).replace("=", r"\u003d").replace("/", r"\/"),
            "url": json.dumps({"a": "".join(f"%{ord(c):02X}" if not c.isalnum() else c for c in basic)}),
            "token": json.dumps([{"deep": [token]}]),
            "name": json.dumps({basic: 1}),
        }
        for name, body in echoes.items():
            running.simulator.fault("odd-answer", "ListMessage", status=200, body=body, match={"To": name})
            url = f"/2010-04-01/Accounts/{user}/Messages.json?To={name}"
            await running.send({"url": url, "method": "GET"}, command="call-api", id=name, key=name)
        refusal = json.dumps({"message": f"bad header Basic {basic}", "more_info": token, "code": 20001})
        running.simulator.fault("odd-answer", "ListMessage", status=400, body=refusal, match={"To": "refused"})
        await running.send({"url": url.replace("To=name", "To=refused")}, command="call-api", id="refused")
        await create(running, "created", status=201, swap={'"body": "created"': json.dumps({"body": basic})[1:-1]})
        found = await by_id(running, len(echoes) + 1, "call-api") | await by_id(running, 1)
        written = json.dumps(list(found.values()))
    assert {name: one["outcome"] for name, one in found.items()} == {
        **dict.fromkeys((*echoes, "created"), "succeeded"),
        "refused": "failed",
    }
    assert token not in written
    assert basic.rstrip("=") not in written
    assert written.count("***") == len(found) + 2
