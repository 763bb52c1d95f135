"""What is there: one by its SID, lists with their filters, media."""

from collections.abc import Mapping
from typing import Any

from tests.specification.example import Example, Sent
from tests.specification.furnished import OTHER, Furnished, new

PAGE = {"PageSize": "1000"}


def gets(rows: Furnished) -> list[Example]:
    found = {
        "message": ("FetchMessage", f"/Messages/{rows.messages[0]}.json", rows.messages[0]),
        "call": ("FetchCall", f"/Calls/{rows.calls[0]}.json", rows.calls[0]),
        "recording": ("FetchRecording", f"/Recordings/{rows.recordings[0]}.json", rows.recordings[0]),
        "transcription": (
            "FetchTranscription",
            f"/Transcriptions/{rows.transcriptions[0]}.json",
            rows.transcriptions[0],
        ),
        "alert": ("FetchAlert", f"/v1/Alerts/{rows.alerts[3]}", rows.alerts[3]),
        "notification": ("FetchNotification", f"/Notifications/{rows.notifications[0]}.json", rows.notifications[0]),
        "phone-number": ("FetchIncomingPhoneNumber", f"/IncomingPhoneNumbers/{rows.numbers[0]}.json", rows.numbers[0]),
    }
    media = f"/Messages/{rows.messages[1]}/Media/{rows.media[0]}.json"
    return [
        *(
            Example(
                id=f"get-{resource}",
                command="get",
                value={"resource": resource, "sid": sid},
                operation=operation,
                path=path,
                sids=[sid],
            )
            for resource, (operation, path, sid) in found.items()
        ),
        Example(
            id="get-media",
            command="get",
            value={"resource": "media", "message_sid": rows.messages[1], "sid": rows.media[0]},
            operation="FetchMedia",
            path=media,
            expects={"parent_sid": rows.messages[1], "content_type": "image/jpeg"},
        ),
    ]


def _listing(name: str, resource: str, operation: str, filters: Mapping[str, Any], sends: Sent, **more: Any) -> Example:
    value = {"resource": resource, **filters}
    return Example(id=f"list-{name}", command="list", value=value, operation=operation, sends={**PAGE, **sends}, **more)


def lists(rows: Furnished) -> list[Example]:
    messages, calls, recordings = rows.messages, rows.calls, rows.recordings
    today = rows.now.date().isoformat()
    recent = {"date_sent_after": rows.now.strftime("%Y-%m-%dT%H:00:00Z")}
    return [
        _listing(
            "messages-to",
            "messages",
            "ListMessage",
            {"to": OTHER},
            {"To": OTHER},
            sids=[messages[0], messages[4]],
        ),
        _listing("messages-from", "messages", "ListMessage", {"from": OTHER}, {"From": OTHER}, sids=[messages[2]]),
        _listing(
            "messages-limit",
            "messages",
            "ListMessage",
            {"to": OTHER, "limit": 1},
            {"To": OTHER, "PageSize": "1"},
            sids=[messages[4]],
        ),
        _listing(
            "messages-recent",
            "messages",
            "ListMessage",
            {"from": OTHER, **recent, "date_sent_before": "2100-01-01"},
            {"From": OTHER, "DateSent>": recent["date_sent_after"], "DateSent<": "2100-01-01"},
        ),
        _listing("calls-to", "calls", "ListCall", {"to": OTHER}, {"To": OTHER}, sids=[calls[0], calls[5]]),
        _listing("calls-from", "calls", "ListCall", {"from": OTHER}, {"From": OTHER}, sids=[calls[2]]),
        _listing(
            "calls-of-parent",
            "calls",
            "ListCall",
            {"parent_call_sid": new("CA", 0xFA)},
            {"ParentCallSid": new("CA", 0xFA)},
            sids=[calls[3]],
        ),
        _listing("calls-busy", "calls", "ListCall", {"status": "busy"}, {"Status": "busy"}, sids=[calls[4]]),
        _listing(
            "calls-limit",
            "calls",
            "ListCall",
            {"to": OTHER, "limit": 1},
            {"To": OTHER, "PageSize": "1"},
            sids=[calls[5]],
        ),
        _listing(
            "recordings-of-call",
            "recordings",
            "ListRecording",
            {"call_sid": new("CA", 0xC1), "include_deleted": True},
            {"CallSid": new("CA", 0xC1), "IncludeSoftDeleted": "true"},
            sids=[recordings[0], recordings[2]],
        ),
        _listing(
            "recordings-of-conference",
            "recordings",
            "ListRecording",
            {"conference_sid": new("CF", 0xC2), "date_created": today},
            {"ConferenceSid": new("CF", 0xC2), "DateCreated": today},
        ),
        _listing(
            "transcriptions",
            "transcriptions",
            "ListRecordingTranscription",
            {"recording_sid": recordings[0], "limit": 10},
            {"PageSize": "10"},
            path=f"/Recordings/{recordings[0]}/Transcriptions.json",
            sids=[rows.transcriptions[0], rows.transcriptions[2]],
        ),
        _listing(
            "alerts",
            "alerts",
            "ListAlert",
            {"log_level": "warning", "start_date": today, "end_date": "2100-01-01"},
            {"LogLevel": "warning", "StartDate": today, "EndDate": "2100-01-01"},
        ),
        _listing(
            "notifications",
            "notifications",
            "ListNotification",
            {"limit": 2},
            {"PageSize": "2"},
            sids=rows.notifications[:1:-1],
        ),
        _listing(
            "notifications-of-call",
            "notifications",
            "ListCallNotification",
            {"call_sid": calls[0], "log": 0},
            {"Log": "0"},
            path=f"/Calls/{calls[0]}/Notifications.json",
            sids=[rows.notifications[0], rows.notifications[2]],
        ),
        _listing(
            "phone-numbers",
            "phone-numbers",
            "ListIncomingPhoneNumber",
            {"phone_number": "+1555990000*", "limit": 3},
            {"PhoneNumber": "+1555990000*", "PageSize": "3"},
        ),
        _listing(
            "media",
            "media",
            "ListMedia",
            {"message_sid": messages[1], "limit": 2},
            {"PageSize": "2"},
            path=f"/Messages/{messages[1]}/Media.json",
            sids=rows.media[:0:-1],
        ),
    ]


def downloads(rows: Furnished) -> list[Example]:
    sid = rows.recordings[0]
    types = {"wav": "audio/wav", "mp3": "audio/mpeg"}
    return [
        Example(
            id=f"download-{extension}",
            command="download-recording",
            value={"sid": sid, "format": extension, "channels": 1},
            operation="FetchRecordingMedia",
            sends={"RequestedChannels": "1"},
            path=f"/Recordings/{sid}.{extension}",
            expects={"sid": sid, "content_type": content_type, "chunks": 1, "url": None},
        )
        for extension, content_type in types.items()
    ]
