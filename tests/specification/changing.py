"""Updates, deletions, and any other call of the API."""

from tests.specification.example import Example
from tests.specification.furnished import OTHER, Furnished


def updates(rows: Furnished) -> list[Example]:
    ended, canceled, redirected = rows.running
    return [
        Example(
            id="redact",
            command="update",
            value={"resource": "message", "sid": rows.unscheduled, "body": ""},
            operation="UpdateMessage",
            sends={"Body": ""},
            path=f"/Messages/{rows.unscheduled}.json",
            expects={"sid": rows.unscheduled, "body": ""},
        ),
        Example(
            id="cancel-message",
            command="update",
            value={"resource": "message", "sid": rows.scheduled, "status": "canceled"},
            operation="UpdateMessage",
            sends={"Status": "canceled"},
            expects={"sid": rows.scheduled, "status": "canceled"},
        ),
        Example(
            id="end-call",
            command="update",
            value={"resource": "call", "sid": ended, "status": "completed"},
            operation="UpdateCall",
            sends={"Status": "completed"},
            expects={"sid": ended, "status": "completed"},
        ),
        Example(
            id="cancel-call",
            command="update",
            value={"resource": "call", "sid": canceled, "status": "canceled"},
            operation="UpdateCall",
            sends={"Status": "canceled"},
            expects={"sid": canceled, "status": "canceled"},
        ),
        Example(
            id="redirect-call",
            command="update",
            value={"resource": "call", "sid": redirected, "url": f"{rows.hooks}/next", "method": "GET"},
            operation="UpdateCall",
            sends={"Url": f"{rows.hooks}/next", "Method": "GET"},
            expects={"sid": redirected},
        ),
        Example(
            id="change-number",
            command="update",
            value={"resource": "phone-number", "sid": rows.numbers[1], "friendly_name": "Desk"},
            operation="UpdateIncomingPhoneNumber",
            sends={"FriendlyName": "Desk"},
            path=f"/IncomingPhoneNumbers/{rows.numbers[1]}.json",
            expects={"friendly_name": "Desk"},
        ),
    ]


def deletes(rows: Furnished) -> list[Example]:
    gone = {
        "message": ("DeleteMessage", f"/Messages/{rows.to_delete[0]}.json", rows.to_delete[0]),
        "call": ("DeleteCall", f"/Calls/{rows.calls[1]}.json", rows.calls[1]),
        "recording": ("DeleteRecording", f"/Recordings/{rows.recordings[2]}.json", rows.recordings[2]),
        "transcription": (
            "DeleteTranscription",
            f"/Transcriptions/{rows.transcriptions[3]}.json",
            rows.transcriptions[3],
        ),
        "phone-number": (
            "DeleteIncomingPhoneNumber",
            f"/IncomingPhoneNumbers/{rows.numbers[2]}.json",
            rows.numbers[2],
        ),
    }
    media = {"resource": "media", "message_sid": rows.messages[1], "sid": rows.media[0]}
    once = [
        Example(
            id=f"delete-{resource}",
            command="delete",
            value={"resource": resource, "sid": sid},
            operation=operation,
            path=path,
            sids=[],
            lane="delete",
        )
        for resource, (operation, path, sid) in gone.items()
    ]
    path = f"/Messages/{rows.messages[1]}/Media/{rows.media[0]}.json"
    once.append(
        Example(id="delete-media", command="delete", value=media, operation="DeleteMedia", path=path, lane="delete")
    )
    # What is gone already is a success as well.
    again = [
        Example(
            id=f"{example.id}-again",
            command="delete",
            value=example.value,
            operation=example.operation,
            path=example.path,
            lane="delete",
        )
        for example in once
    ]
    return [*once, *again]


def requests(rows: Furnished) -> list[Example]:
    base = "/2010-04-01/Accounts/{AccountSid}"
    return [
        Example(
            id="call-api-get",
            command="call-api",
            value={"url": f"{base}/Messages.json", "method": "GET", "query": {"To": OTHER, "PageSize": 1}},
            operation="ListMessage",
            sends={"To": OTHER, "PageSize": "1"},
            method="GET",
            expects={"page_size": 1},
        ),
        Example(
            id="call-api-post",
            command="call-api",
            value={
                "url": f"{base}/Messages/{rows.messages[3]}/Feedback.json",
                "method": "POST",
                "headers": {"X-Trace": "7"},
                "body": {"Outcome": "confirmed"},
            },
            operation="CreateMessageFeedback",
            sends={"Outcome": "confirmed"},
            method="POST",
            expects={"outcome": "confirmed"},
        ),
        Example(
            id="call-api-delete",
            command="call-api",
            value={"url": f"{base}/Messages/{rows.to_delete[1]}.json", "method": "DELETE"},
            operation="DeleteMessage",
            method="DELETE",
            path=f"/Messages/{rows.to_delete[1]}.json",
            sids=[],
        ),
        *(
            Example(
                id=f"call-api-{method.lower()}",
                command="call-api",
                value={
                    "url": f"{base}/Messages/{rows.to_delete[2]}.json",
                    "method": method,
                    "headers": {"Content-Type": "application/json"},
                    "body": '{"a": 1}',
                    "strict": False,
                },
                operation="",
                method=method,
                path=f"/Messages/{rows.to_delete[2]}.json",
                outcome="failed",
                expects={"code": 20004, "status": 405},
            )
            for method in ("PUT", "PATCH")
        ),
    ]
