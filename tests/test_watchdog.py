"""The watchdog of a membership: it finds what is stuck, and never what works or what waits for Kafka."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from connector.kafka.watchdog import Watchdog

SESSION, JOINING = 10.0, 40.0
OWNERS = (0, 1, 2)

# Steps are shorter than a session timeout: the loop of a member that works turns several times a second.
steps = st.lists(st.tuples(st.floats(0.01, SESSION), st.sampled_from(OWNERS)), min_size=1, max_size=60)


def watching(*, is_lock: bool = False, readers: Sequence[int] = OWNERS) -> Watchdog:
    """One that has just joined, with owners that read."""
    watchdog = Watchdog(session=SESSION, joining=JOINING, is_lock=is_lock, started=0.0)
    watchdog.joins(0.0)
    watchdog.gains_partitions(0.0)
    for partition in readers:
        watchdog.begins_to_read(partition, 0.0)
    return watchdog


def is_at_rest(watchdog: Watchdog, now: float) -> bool:
    return not watchdog.is_doubtful(now) and not watchdog.is_rejoining_too_long(now) and watchdog.is_alive(now)


@given(steps, st.booleans())
def test_a_member_that_works_is_left_alone(taken: list[tuple[float, int]], is_lock: bool) -> None:  # noqa: FBT001
    watchdog, now = watching(is_lock=is_lock), 0.0
    for seconds, _ in taken:
        now += seconds
        watchdog.turns(now)
        assert is_at_rest(watchdog, now)
        for partition in OWNERS:
            watchdog.is_accepted(partition, now)
    assert is_at_rest(watchdog, now)


@given(steps)
def test_one_owner_that_is_stuck_is_found_whatever_the_others_do(taken: list[tuple[float, int]]) -> None:
    watchdog, now = watching(), 0.0
    for seconds, partition in taken:
        now += seconds
        watchdog.turns(now)
        if partition:
            watchdog.is_accepted(partition, now)
    assert watchdog.is_doubtful(now) == (now > watchdog.patience)
    watchdog.ends_reading(0)
    watchdog.begins_to_read(0, now)
    for partition in OWNERS:
        watchdog.is_accepted(partition, now)
    assert is_at_rest(watchdog, now)


@given(steps)
def test_for_a_lock_a_commit_of_any_partition_counts(taken: list[tuple[float, int]]) -> None:
    watchdog, now = watching(is_lock=True, readers=()), 0.0
    for seconds, partition in taken:
        now += seconds
        watchdog.turns(now)
        watchdog.is_accepted(partition, now)
        assert is_at_rest(watchdog, now)
    assert watchdog.is_doubtful(now + watchdog.patience + 1)


@given(steps, st.booleans())
def test_while_kafka_is_away_nothing_is_restarted(taken: list[tuple[float, int]], is_lock: bool) -> None:  # noqa: FBT001
    watchdog, now = watching(is_lock=is_lock), 0.0
    for seconds, _ in taken * 5:
        now += seconds
        watchdog.turns(now)
        if watchdog.is_doubtful(now):
            watchdog.finds_no_broker(now)
        assert watchdog.is_alive(now)
        assert not watchdog.is_doubtful(now)


@given(st.booleans())
def test_a_client_that_is_rebuilt_in_vain_is_dead_in_the_end(is_lock: bool) -> None:  # noqa: FBT001
    watchdog, now = watching(is_lock=is_lock), 0.0
    while now < JOINING + 3 * watchdog.patience:
        assert watchdog.is_alive(now)
        now += 1
        watchdog.turns(now)
        if watchdog.is_doubtful(now):
            for partition in OWNERS:
                watchdog.ends_reading(partition)
            watchdog.loses_partitions(now)
            watchdog.joins(now)
            watchdog.gains_partitions(now)
            for partition in OWNERS:
                watchdog.begins_to_read(partition, now)
    assert not watchdog.is_alive(now)
    watchdog.is_accepted(0, now)
    for partition in OWNERS:
        watchdog.is_accepted(partition, now)
    assert watchdog.is_alive(now)


@given(st.floats(0, 1_000))
def test_a_loop_that_does_not_turn_is_dead(seconds: float) -> None:
    watchdog = watching()
    for partition in OWNERS:
        watchdog.is_accepted(partition, seconds)
    assert watchdog.is_alive(seconds) == (seconds < JOINING + 2 * watchdog.patience)


@given(st.floats(0.0, 2 * JOINING), st.booleans())
def test_a_rebalance_may_take_its_time_and_no_more(seconds: float, is_over: bool) -> None:  # noqa: FBT001
    watchdog = watching(readers=())
    watchdog.loses_partitions(0.0)
    watchdog.turns(seconds)
    assert watchdog.is_rejoining_too_long(seconds) == (seconds > JOINING)
    assert not watchdog.is_doubtful(seconds)
    if is_over:
        watchdog.gains_partitions(seconds)
        assert not watchdog.is_rejoining_too_long(seconds + 2 * JOINING)
        assert not watchdog.is_doubtful(seconds)


@given(st.lists(st.floats(0.01, 5 * SESSION), max_size=20))
def test_a_member_without_owners_that_read_has_nothing_to_prove(taken: list[float]) -> None:
    watchdog, now = watching(readers=()), 0.0
    for seconds in taken:
        now += seconds
        watchdog.turns(now)
        watchdog.waits_for_owners(now)
        assert is_at_rest(watchdog, now)


def test_no_successor_exists_for_a_session_after_what_was_sent_however_late_it_was_answered() -> None:
    watchdog = watching()
    assert watchdog.known_until < 0
    watchdog.is_known(100.0)
    watchdog.is_known(99.0)
    assert watchdog.known_until == 100.0 + SESSION
    # Commits show less, and another clock counts for them.
    watchdog.is_accepted(0, 200.0)
    watchdog.gains_partitions(200.0)
    assert watchdog.known_until == 100.0 + SESSION
