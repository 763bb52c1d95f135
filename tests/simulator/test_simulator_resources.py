"""Recordings with playable media, transcriptions, numbers, applications, and the control routes."""

import io
import struct
import wave
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest

from connector.simulator import ACCOUNT_SID, API_KEY, PHONE_NUMBER, Account, Simulator
from connector.simulator.audio import MP3_FRAME, mp3_frame
from tests.simulator.simulator_world import ask, dial, send, walk

TWO_HOURS = 7200


def recording(simulator: Simulator, **attributes: object) -> str:
    return simulator.fill("recordings", count=1, **attributes)[0]


@pytest.mark.parametrize("channels", [1, 2])
async def test_wav_media_play_for_their_duration(simulator: Simulator, channels: int) -> None:
    sid = recording(simulator, duration=3, channels=channels)
    for path in (f"Recordings/{sid}", f"Recordings/{sid}.wav"):
        answer = await ask(simulator, "GET", path)
        assert answer.headers["Content-Type"] == "audio/x-wav"
        assert int(answer.headers["Content-Length"]) == len(answer.body)
        with wave.open(io.BytesIO(answer.body)) as played:
            assert (played.getnchannels(), played.getframerate(), played.getnframes()) == (channels, 8000, 24_000)
            assert max(struct.unpack("<100h", played.readframes(100 // channels))) == 8000


@pytest.mark.parametrize("channels", [1, 2])
async def test_mp3_media_are_whole_frames_for_their_duration(simulator: Simulator, channels: int) -> None:
    sid = recording(simulator, duration=4, channels=channels)
    answer = await ask(simulator, "GET", f"Recordings/{sid}.mp3")
    assert answer.headers["Content-Type"] == "audio/mpeg"
    frames = [answer.body[at : at + MP3_FRAME] for at in range(0, len(answer.body), MP3_FRAME)]
    assert set(frames) == {mp3_frame(channels)}
    assert 4.0 <= len(frames) * 1152 / 32_000 < 4.05


def test_the_header_of_an_mp3_frame_says_mpeg1_layer3_32_kbits() -> None:
    word = int.from_bytes(mp3_frame(1)[:4], "big")
    assert word >> 21 == 0x7FF  # frame sync
    assert word >> 17 & 0b1111 == 0b1101  # MPEG 1, layer III
    assert word >> 12 & 0b1111 == 1  # 32 kbit/s
    assert word >> 10 & 0b11 == 0b10  # 32 kHz
    assert word >> 6 & 0b11 == 0b11  # mono


async def test_large_media_are_streamed_with_their_length(simulator: Simulator) -> None:
    sid = recording(simulator, duration=TWO_HOURS)
    size = 0
    basic = aiohttp.encode_basic_auth(simulator.account_sid, simulator.auth_token)
    url = f"{simulator.url}/2010-04-01/Accounts/{ACCOUNT_SID}/Recordings/{sid}.wav"
    async with aiohttp.ClientSession(headers={"Authorization": basic}) as session, session.get(url) as answer:
        async for chunk in answer.content.iter_any():
            size += len(chunk)
        assert size == answer.content_length == 44 + TWO_HOURS * 16_000


async def test_dual_channels_are_refused_where_there_is_one(simulator: Simulator) -> None:
    mono, dual = recording(simulator), recording(simulator, channels=2)
    assert (await ask(simulator, "GET", f"Recordings/{mono}.wav?RequestedChannels=2")).status == 400
    answer = await ask(simulator, "GET", f"Recordings/{dual}.wav?RequestedChannels=1")
    with wave.open(io.BytesIO(answer.body)) as played:
        assert played.getnchannels() == 1


@pytest.mark.parametrize("status", ["in-progress", "processing", "absent", "deleted"])
async def test_media_do_not_exist_until_completed(simulator: Simulator, status: str) -> None:
    sid = recording(simulator, status=status)
    assert (await ask(simulator, "GET", f"Recordings/{sid}.mp3")).code == 20404


async def test_media_behind_a_redirect_refuse_twilio_credentials(simulator: Simulator) -> None:
    simulator.configure(media_redirect=True)
    sid = recording(simulator, duration=1)
    answer = await ask(simulator, "GET", f"Recordings/{sid}.wav", allow_redirects=False)
    assert answer.status == 307
    assert answer.headers["Location"].startswith("http://localhost:")
    async with aiohttp.ClientSession() as session:
        async with session.get(answer.headers["Location"]) as found:
            assert (found.status, len(await found.read())) == (200, 16_044)
        async with session.get(answer.headers["Location"], headers={"Authorization": "Basic x"}) as refused:
            assert refused.status == 400


async def test_a_deleted_recording_stays_visible_on_request_for_forty_days(simulator: Simulator) -> None:
    sid = recording(simulator)
    assert (await ask(simulator, "DELETE", f"Recordings/{sid}.json")).status == 204
    assert await walk(simulator, "Recordings.json") == [[]]
    assert await walk(simulator, "Recordings.json?IncludeSoftDeleted=true") == [[sid]]
    assert (await ask(simulator, "GET", f"Recordings/{sid}.json")).status == 404
    shown = await ask(simulator, "GET", f"Recordings/{sid}.json?IncludeSoftDeleted=true")
    assert shown.json["status"] == "deleted"
    row = simulator.state.stores[ACCOUNT_SID].recordings.rows[sid]
    row.deleted_at = (datetime.now(UTC) - timedelta(days=41)).timestamp()
    assert await walk(simulator, "Recordings.json?IncludeSoftDeleted=true") == [[]]


async def test_a_recording_under_way_cannot_be_deleted(simulator: Simulator) -> None:
    sid = recording(simulator, status="in-progress")
    assert (await ask(simulator, "DELETE", f"Recordings/{sid}.json")).code == 20009


async def test_only_a_call_in_progress_can_be_recorded(simulator: Simulator) -> None:
    simulator.configure(auto_advance=False)
    sid = (await dial(simulator)).json["sid"]
    assert (await ask(simulator, "POST", f"Calls/{sid}/Recordings.json")).code == 21220


async def test_recordings_are_filtered_by_call_conference_and_day(simulator: Simulator) -> None:
    call, conference = "CA" + "1" * 32, "CF" + "1" * 32
    of_call = recording(simulator, call_sid=call, first="2026-11-20T12:00:00Z")
    of_conference = recording(simulator, conference_sid=conference, first="2026-11-21T12:00:00Z")
    assert await walk(simulator, f"Recordings.json?CallSid={call}") == [[of_call]]
    assert await walk(simulator, f"Conferences/{conference}/Recordings.json") == [[of_conference]]
    assert await walk(simulator, "Recordings.json?DateCreated%3E=2026-11-21") == [[of_conference]]
    assert await walk(simulator, f"Calls/{call}/Recordings.json?DateCreated%3C=2026-11-20T13%3A00%3A00Z") == [[]]


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({}, 21421),
        ({"PhoneNumber": "555"}, 21421),
        ({"PhoneNumber": "+15005550000"}, 21422),
        ({"PhoneNumber": "+15005550001"}, 21421),
        ({"PhoneNumber": PHONE_NUMBER}, 21422),
        ({"AreaCode": "533"}, 21452),
        ({"AreaCode": "5"}, 21452),
        ({"AreaCode": "500", "VoiceFallbackUrl": "https://example.com"}, 21405),
        ({"AreaCode": "500", "SmsFallbackUrl": "https://example.com"}, 21406),
        ({"AreaCode": "500", "FriendlyName": "x" * 65}, 20001),
        ({"AreaCode": "500", "SmsUrl": "nothing"}, 20001),
    ],
)
async def test_a_number_that_cannot_be_bought_is_refused_with_its_code(
    simulator: Simulator, form: dict[str, str], code: int
) -> None:
    refused = await ask(simulator, "POST", "IncomingPhoneNumbers.json", data=form)
    assert (refused.status, refused.code) == (400, code)


async def test_buying_by_area_code_twice_buys_two_numbers_but_a_given_number_only_one(simulator: Simulator) -> None:
    path, form = "IncomingPhoneNumbers.json", {"PhoneNumber": "+15005550006"}
    by_area = [(await ask(simulator, "POST", path, data={"AreaCode": "500"})).json["phone_number"] for _ in range(2)]
    assert len(set(by_area)) == 2
    assert [(await ask(simulator, "POST", path, data=form)).status for _ in range(2)] == [201, 400]


@pytest.mark.parametrize(
    ("query", "count"), [("PhoneNumber=%2B1555010***1", 1), ("PhoneNumber=0100", 2), ("Origin=hosted", 0)]
)
async def test_numbers_are_found_by_pattern(simulator: Simulator, query: str, count: int) -> None:
    found = (await ask(simulator, "GET", f"IncomingPhoneNumbers.json?{query}")).json["incoming_phone_numbers"]
    assert len(found) == count


async def test_a_number_moves_to_a_subaccount() -> None:
    child = Account(sid="AC" + "c" * 32, parent=ACCOUNT_SID, phone_numbers=())
    async with Simulator(accounts=[Account(), child]) as simulator:
        sid = (await ask(simulator, "GET", "IncomingPhoneNumbers.json")).json["incoming_phone_numbers"][0]["sid"]
        moved = await ask(simulator, "POST", f"IncomingPhoneNumbers/{sid}.json", data={"AccountSid": child.sid})
        assert moved.json["account_sid"] == child.sid
        path = f"/2010-04-01/Accounts/{child.sid}/IncomingPhoneNumbers.json"
        assert await walk(simulator, path) == [[sid]]


async def test_equal_seeds_give_equal_sids() -> None:
    async def sids(seed: int) -> list[str]:
        async with Simulator(seed=seed) as simulator:
            return [(await send(simulator)).json["sid"] for _ in range(3)]

    assert await sids(5) == await sids(5) != await sids(6)


async def test_the_control_routes_reset_fill_and_account_for_everything(simulator: Simulator) -> None:
    made = await ask(simulator, "POST", "/_sim/rows/messages", json={"count": 5000, "step": 0.5, "body": "n {n}"})
    assert len(made.json["sids"]) == 5000
    assert (await ask(simulator, "GET", "/_sim/rows/messages")).json["sids"] == made.json["sids"]
    await ask(simulator, "POST", "/_sim/faults", json=[{"kind": "throttle", "operation": "ListMessage", "times": 1}])
    assert (await ask(simulator, "GET", "Messages.json?PageSize=1")).status == 429
    journal = (await ask(simulator, "GET", "/_sim/journal?operation=ListMessage")).json
    (entry,) = journal["entries"]
    assert (entry["status"], entry["executed"], entry["faults"]) == (429, False, ["throttle"])
    assert entry["parameters"] == [["PageSize", "1"]]
    await ask(simulator, "POST", "/_sim/reset", json={"seed": 9})
    overview = (await ask(simulator, "GET", "/_sim")).json
    assert (overview["seed"], overview["requests"], overview["accounts"][ACCOUNT_SID]["messages"]) == (9, 0, 0)
    assert (await ask(simulator, "GET", "/_sim/faults")).json == []


async def test_the_control_routes_change_settings_accounts_and_statuses(simulator: Simulator) -> None:
    changed = await ask(simulator, "POST", "/_sim/settings", json={"auto_advance": False, "error_codes": [30007]})
    assert changed.json["error_codes"] == [30007]
    sid = (await send(simulator)).json["sid"]
    await ask(simulator, "POST", "/_sim/status", json={"sid": sid, "status": "undelivered"})
    assert (await ask(simulator, "GET", f"Messages/{sid}.json")).json["error_code"] == 30007
    inbound = {"from": "+15550100002", "to": PHONE_NUMBER, "body": "x", "media": [{"content_type": "image/gif"}]}
    assert (await ask(simulator, "POST", "/_sim/inbound", json=inbound)).json["sid"].startswith("MM")
    account = {"sid": "AC" + "d" * 32, "auth_token": "t", "api_keys": [{"sid": "SK" + "d" * 32, "secret": "s"}]}
    assert (await ask(simulator, "POST", "/_sim/accounts", json=account)).status == 200
    path = f"/2010-04-01/Accounts/{account['sid']}/Messages.json"
    assert (await ask(simulator, "GET", path, user="SK" + "d" * 32, password="s")).status == 200
    assert (await ask(simulator, "POST", "/_sim/settle", json={"timeout": 5})).json == {"settled": True}
    assert (await ask(simulator, "GET", "/_sim/callbacks?kind=message-status")).json == []


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/_sim/settings", {"colour": "red"}, 400),
        ("POST", "/_sim/faults", {"kind": "explosion"}, 400),
        ("POST", "/_sim/rows/widgets", {"count": 1}, 400),
        ("POST", "/_sim/rows/messages", {"count": 1, "colour": "red"}, 400),
        ("POST", "/_sim/accounts", {"colour": "red"}, 400),
        ("POST", "/_sim/status", {"sid": "XX", "status": "sent"}, 400),
        ("POST", "/_sim/nothing", {}, 404),
    ],
)
async def test_control_routes_say_what_is_wrong(
    simulator: Simulator, method: str, path: str, body: dict[str, object], status: int
) -> None:
    answer = await ask(simulator, method, path, json=body)
    assert (answer.status, "error" in answer.json) == (status, True)


async def test_a_new_key_works_until_it_is_deleted_and_cannot_delete_itself() -> None:
    async with Simulator(seed=1) as simulator:
        key = (await ask(simulator, "POST", "Keys.json", data={"FriendlyName": "k"})).json
        as_key = {"user": key["sid"], "password": key["secret"]}
        assert (await ask(simulator, "GET", "Messages.json", **as_key)).status == 200
        assert (await ask(simulator, "GET", "Keys.json", **as_key)).code == 20003
        assert (await ask(simulator, "DELETE", f"Keys/{key['sid']}.json")).status == 204
        assert (await ask(simulator, "GET", "Messages.json", **as_key)).code == 20003
        assert await walk(simulator, "Keys.json") == [[API_KEY]]


async def test_rows_can_have_fields_that_nobody_expects(simulator: Simulator) -> None:
    extra = {"status": "teleported", "mood": "good", "date_created": "yesterday"}
    (sid,) = simulator.fill("messages", rows=[{"extra": extra}])
    listed = (await ask(simulator, "GET", "Messages.json")).json["messages"][0]
    fetched = (await ask(simulator, "GET", f"Messages/{sid}.json")).json
    assert listed == fetched
    assert extra.items() <= fetched.items()


async def test_a_recording_can_be_stored_at_the_customers(simulator: Simulator) -> None:
    url = "https://bucket.example.com/a.wav"
    sid = recording(simulator, extra={"media_url": url})
    assert (await ask(simulator, "GET", f"Recordings/{sid}.json")).json["media_url"] == url
    assert (await ask(simulator, "GET", "Recordings.json")).json["recordings"][0]["media_url"] == url


async def test_other_requests_do_not_change_the_sids_of_a_seed() -> None:
    async with Simulator(seed=5) as quiet, Simulator(seed=5) as busy:
        for _ in range(3):
            await ask(busy, "GET", "Messages.json")
            busy.fill("alerts", count=2)
        assert (await send(quiet)).json["sid"] == (await send(busy)).json["sid"]
