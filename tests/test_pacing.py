"""Segments as Twilio counts them, and the pace of calls and segments."""

import asyncio
from collections.abc import Sequence
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.resources.rows import ACCOUNT, Request
from connector.twilio.pacing import LATE_SECONDS, REMEMBERED_SENDERS, Pace, Pacing, Share
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
    pace, now, turns = Pace(rate), 0.0, []
    for gap, units in arrivals:
        now += gap
        begin = pace.next(now)
        assert begin >= now
        pace.take(units, begin=begin, now=now)
        turns.append((begin, units))
    for (begin, units), (following, _) in pairwise(turns):
        assert following >= begin + units / rate - 1e-6


def test_an_idle_pace_is_free_at_once() -> None:
    pace = Pace(1)
    pace.take(1, begin=pace.next(10), now=10)
    assert pace.next(10) == 11
    assert pace.next(100) == 100


# --- the pace of a group ---
class Group:
    """Processes that always have something to send, and partitions that go from one to the other; one pure clock."""

    def __init__(self, rate: float, *, partitions: int, processes: int, skews: Sequence[float] = ()) -> None:
        self.now = 1_796_000_000.3
        self.partitions = partitions
        self.turns: list[tuple[float, int]] = []
        self.shares = [Share((), partitions, self.now)] * processes
        self.paces = [self._pace(rate, number, skew) for number, skew in enumerate([*skews, *[0.0] * processes])]
        self.paces = self.paces[:processes]

    def _pace(self, rate: float, number: int, skew: float) -> Pace:
        return Pace(rate, share=lambda: self.shares[number], wall=lambda: self.now + skew)

    def deal(self, alive: Sequence[int]) -> None:
        """Give the processes that live neighbouring partitions, as the group does."""
        for number in range(len(self.shares)):
            self.shares[number] = Share((), self.partitions, self.now)
        ends = [self.partitions * place // len(alive) for place in range(len(alive) + 1)]
        for number, (low, high) in zip(alive, pairwise(ends), strict=True):
            self.shares[number] = Share(tuple(range(low, high)), self.partitions, self.now)

    def send(self, until: float, units: int = 1) -> None:
        """Take every turn before then."""
        holders = [number for number, share in enumerate(self.shares) if share.held]
        while True:
            begin, number = min((max(self.now, self.paces[number].next(self.now)), number) for number in holders)
            if begin >= until:
                self.now = until
                return
            self.now = begin
            self.paces[number].take(units, begin=self.paces[number].next(begin), now=begin)
            self.turns.append((begin, units))


@given(
    st.sampled_from([0.2, 1.0, 3.7, 40.0]),
    st.integers(1, 13),
    st.lists(st.tuples(st.sets(st.integers(0, 3), min_size=1), st.floats(0.1, 40)), min_size=1, max_size=8),
)
def test_a_group_keeps_the_rate_whatever_processes_come_and_go(
    rate: float, partitions: int, lives: list[tuple[set[int], float]]
) -> None:
    group = Group(rate, partitions=partitions, processes=4)
    for alive, slots in lives:
        group.deal(sorted(alive)[:partitions])
        group.send(group.now + slots / rate)
    for (earlier, _), (later, _) in pairwise(group.turns):
        assert later - earlier >= 0.98 / rate - LATE_SECONDS


@pytest.mark.parametrize("partitions", [1, 2, 6, 12, 13, 128])
def test_a_group_uses_the_whole_rate(partitions: int) -> None:
    group = Group(2, partitions=partitions, processes=4)
    for alive in ([0], [0, 1], [0, 1, 2], [0, 1, 2, 3], [2, 3], [3]):
        group.deal(alive[:partitions])
        before, began = len(group.turns), group.now
        group.send(began + 64)
        # A cycle may be broken at either end, and whatever comes anew lets one slot pass.
        assert 2 * 64 - len(group.turns[before:]) <= 3


@pytest.mark.parametrize("units", [1, 2, 3, 7])
def test_a_long_message_takes_its_slots_of_a_share(units: int) -> None:
    group = Group(10, partitions=6, processes=2)
    group.deal([0, 1])
    group.send(group.now + 60, units)
    assert sum(units for _, units in group.turns) == pytest.approx(600, abs=4 * units)


@pytest.mark.parametrize("held", [range(6), range(6, 12)])
def test_neighbouring_partitions_have_slots_far_apart(held: range) -> None:
    share = Share(tuple(held), 12)
    slots = list(accumulate(range(12), lambda slot, _: share.slot(slot + 1), initial=share.slot(0)))
    assert max(later - earlier for earlier, later in pairwise(slots)) <= 3


def test_clocks_that_are_apart_cost_no_more_than_the_rate_of_a_slot() -> None:
    group = Group(1, partitions=6, processes=2, skews=[0.0, 0.7])
    group.deal([0, 1])
    group.send(group.now + 600)
    begins = [begin for begin, _ in group.turns]
    assert all(later - earlier >= 20 for earlier, later in zip(begins, begins[21:], strict=False))


async def test_a_turn_that_is_given_up_is_the_next_ones() -> None:
    pacing = Pacing(calls_per_second=4)
    await pacing.turn(CALL)
    waiting = [asyncio.create_task(pacing.turn(CALL)) for _ in range(50)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    assert await took(pacing, CALL) < 1


async def test_who_waits_while_partitions_are_taken_away_goes_on_with_those_that_are_left() -> None:
    shares = [Share((0, 1, 2), 3)]
    pacing = Pacing(calls_per_second=50, share=lambda: shares[-1])
    await pacing.turn(CALL)
    waiting = asyncio.create_task(took(pacing, *[CALL] * 4))
    await asyncio.sleep(0)
    shares.append(Share((1,), 3, asyncio.get_running_loop().time()))
    assert 0.14 <= await waiting < 1


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
