"""Segments as Twilio counts them, and the pace of calls and segments."""

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.resources.rows import ACCOUNT, Request
from connector.twilio.pacing import REMEMBERED_SENDERS, Pace, Pacing
from connector.twilio.segments import segments

CALL = Request("POST", f"{ACCOUNT}/Calls.json", form=(("To", "+1"),))
GSM7 = "abc XYZ 09 @£$¥èéùìòÇØøÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ¡ÄÖÑÜ§¿äöñüà\n\r"


def message(sender: str, body: str = "x", **fields: str) -> Request:
    form = (("To", "+1"), ("From", sender), ("Body", body), *fields.items())
    return Request("POST", f"{ACCOUNT}/Messages.json", form=form)


# --- segments ---
@pytest.mark.parametrize(
    ("body", "count"),
    [
        ("", 1),
        ("x" * 160, 1),
        ("x" * 161, 2),
        ("x" * 306, 2),
        ("x" * 307, 3),
        ("x" * 1530, 10),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("x" * 152 + "€" + "x" * 152, 3),  # the escape pair is not cut: 152, 2 + 151, 1
        ("ж" * 70, 1),
        ("ж" * 71, 2),
        ("ж" * 134, 2),
        ("ж" * 135, 3),
        ("🎉" * 35, 1),
        ("🎉" * 36, 2),
        ("🎉" * 67, 3),  # 33 whole pairs fit into 67 units
        ("x" * 69 + "`", 1),
        ("x" * 70 + "`", 2),
        ("ç" * 71, 2),  # the small cedilla is not GSM-7, the capital is
        ("Ç" * 160, 1),
        ("\t" * 71, 2),
        ("^{}\\[~]|€\f" * 8, 1),
    ],
)
def test_segments_are_counted_as_twilio_does(body: str, count: int) -> None:
    assert segments(body) == count


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ("“x”" + "x" * 157, 1),
        ("—" * 160, 1),
        ("…" * 54, 2),
        ("ж" * 71, 2),
        ("\u200b" * 300, 1),
        ("\uff21\uff3a\uff10\uff19" * 40, 1),
    ],
)
def test_smart_encoding_replaces_look_alikes_first(body: str, count: int) -> None:
    assert segments(body, smart_encoded=True) == count


@given(st.text(st.sampled_from(GSM7), max_size=700))
def test_text_of_the_basic_alphabet_fills_its_segments(body: str) -> None:
    assert segments(body) == (1 if len(body) <= 160 else -(-len(body) // 153))


@given(st.text(max_size=300), st.text(max_size=300))
def test_more_text_is_never_fewer_segments(body: str, more: str) -> None:
    assert 1 <= segments(body) <= segments(body + more)


# --- pace ---
@given(
    st.floats(0.1, 100),
    st.lists(st.tuples(st.floats(0, 5), st.integers(1, 10)), min_size=1, max_size=30),
)
def test_a_turn_never_comes_before_the_units_ahead_of_it_have_had_their_time(
    rate: float, arrivals: list[tuple[float, int]]
) -> None:
    pace, now, starts = Pace(rate), 0.0, []
    for gap, units in arrivals:
        now += gap
        delay = pace.reserve(units, now=now)
        assert delay >= 0
        starts.append((now + delay, units))
    for (start, units), (following, _) in pairwise(starts):
        assert following >= start + units / rate - 1e-6


def test_an_idle_pace_is_free_at_once() -> None:
    pace = Pace(1)
    assert pace.reserve(1, now=10) == 0
    assert pace.reserve(1, now=10) == 1
    assert pace.reserve(1, now=100) == 0


async def took(pacing: Pacing, *requests: Request) -> float:
    """Seconds until all requests, made at once, had their turn."""
    clock = asyncio.get_running_loop().time
    started = clock()
    await asyncio.gather(*(pacing.turn(request) for request in requests))
    return clock() - started


async def test_calls_go_out_at_their_pace() -> None:
    assert 0.2 <= await took(Pacing(calls_per_second=20), *[CALL] * 5) < 1


@pytest.mark.parametrize(
    "request_",
    [
        Request("GET", f"{ACCOUNT}/Calls.json"),
        Request("POST", f"{ACCOUNT}/Calls/CA1.json", form=(("Status", "completed"),)),
        Request("POST", f"{ACCOUNT}/IncomingPhoneNumbers.json", form=()),
        Request("GET", "/v1/Alerts"),
    ],
)
async def test_nothing_but_creating_calls_and_messages_is_paced(request_: Request) -> None:
    pacing = Pacing(calls_per_second=0.01, segments_per_second={"default": 0.01})
    assert await took(pacing, *[request_] * 3) < 1


async def test_zero_is_unpaced() -> None:
    pacing = Pacing(calls_per_second=0, segments_per_second={"default": 0, "+3": 0.01})
    assert await took(pacing, *[CALL] * 100, *[message("+2")] * 100, message("+3")) < 1


async def test_a_waiting_sender_delays_only_itself() -> None:
    pacing = Pacing(segments_per_second={"default": 0, "+slow": 0.01, "+fast": 1000})
    await pacing.turn(message("+slow"))
    waiting = asyncio.create_task(pacing.turn(message("+slow")))
    assert await took(pacing, *[message("+fast")] * 10, *[message("+other")] * 10) < 1
    assert not waiting.done()
    waiting.cancel()


async def test_a_long_message_makes_its_successor_wait_for_each_segment() -> None:
    pacing = Pacing(segments_per_second={"default": 20})
    assert 0.2 <= await took(pacing, message("+1", "x" * 600), message("+1")) < 1


@pytest.mark.parametrize(
    "long",
    [
        message("whatsapp:+1", "ж" * 600),
        message("+1", "ж" * 600, MediaUrl="https://x"),
        message("+1", "“" + "x" * 100, SmartEncoded="true"),
    ],
)
async def test_what_twilio_sends_as_one_counts_as_one(long: Request) -> None:
    pacing = Pacing(segments_per_second={"default": 2})
    await pacing.turn(long)
    sender = dict(long.form or ())["From"]
    assert await took(pacing, message(sender)) < 0.9


async def test_a_messaging_service_is_a_sender_and_a_raw_form_is_read() -> None:
    pacing = Pacing(segments_per_second={"MG1": 5})
    service = Request("POST", f"{ACCOUNT}/Messages.json", form=(("MessagingServiceSid", "MG1"), ("Body", "x")))
    raw = Request("POST", f"{ACCOUNT}/Messages.json", body=b"MessagingServiceSid=MG1&Body=x")
    assert 0.2 <= await took(pacing, service, raw) < 1


async def test_the_senders_remembered_are_bounded_and_busy_ones_kept() -> None:
    pacing = Pacing(segments_per_second={"default": 1_000_000, "+busy": 0.001})
    await pacing.turn(message("+busy"))
    for number in range(REMEMBERED_SENDERS + 10):
        await pacing.turn(message(f"+{number}"))
    assert len(pacing._senders) <= REMEMBERED_SENDERS
    assert pacing._senders["+busy"].free_at > asyncio.get_running_loop().time()


async def test_senders_are_bounded_even_when_all_are_busy() -> None:
    pacing = Pacing(segments_per_second={"default": 0.001})
    for number in range(REMEMBERED_SENDERS + 10):
        await pacing.turn(message(f"+{number}"))
    assert len(pacing._senders) <= REMEMBERED_SENDERS
