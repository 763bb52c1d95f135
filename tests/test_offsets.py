"""Progress: what is committed tells a successor exactly which commands are finished."""

import base64
import zlib
from collections.abc import Iterable
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from connector.executor.offsets import Commit, decode, encode
from connector.executor.under_way import METADATA_LIMIT, Progress
from connector.state.journal import OffsetSet

BASE = 1000


@st.composite
def lives(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Offsets that come, with gaps, and those of them that are finished, in any order."""
    gaps = draw(st.lists(st.integers(min_value=1, max_value=4), max_size=60))
    offsets = [BASE + sum(gaps[: count + 1]) - 1 for count in range(len(gaps))]
    finished = draw(st.lists(st.sampled_from(offsets), unique=True)) if offsets else []
    return offsets, finished


def _lived(offsets: list[int], finished: list[int]) -> Progress:
    progress = Progress(BASE)
    for offset in offsets:
        assert progress.deliver(offset)
    for offset in finished:
        progress.finish(offset)
    return progress


def _offset_set(offsets: Iterable[int]) -> OffsetSet:
    found = OffsetSet()
    for offset in offsets:
        found.add(offset)
    return found


def _restored(progress: Progress, *, finished: Iterable[int] = ()) -> Progress:
    text = progress.metadata(low=7, digest=None)
    assert text is not None
    commit = decode(progress.base, text)
    assert commit is not None
    return Progress(progress.base, end=commit.end, pending=commit.pending, finished=_offset_set(finished))


@given(st.sets(st.integers(0, 5_000)), st.integers(0, 5_000))
def test_a_set_of_offsets_is_a_set(offsets: set[int], start: int) -> None:
    found = _offset_set(offsets)
    assert {offset for offset in range(5_001) if offset in found} == offsets
    assert found.end == max(offsets, default=-1) + 1
    assert list(found.missing(start)) == [offset for offset in range(start, found.end) if offset not in offsets]


@given(lives())
def test_everything_below_the_base_is_finished(life: tuple[list[int], list[int]]) -> None:
    offsets, finished = life
    progress = _lived(offsets, finished)
    assert all(offset in finished for offset in offsets if offset < progress.base)
    assert progress.base in {*offsets, progress.end}
    assert progress.pending == len(offsets) - len(finished)


@given(lives())
def test_a_successor_executes_exactly_what_is_not_finished(life: tuple[list[int], list[int]]) -> None:
    offsets, finished = life
    progress = _lived(offsets, finished)
    successor = _restored(progress)
    again = [offset for offset in offsets if offset >= progress.base and successor.deliver(offset)]
    assert again == [offset for offset in offsets if offset not in finished]


@given(lives(), st.integers(min_value=0, max_value=60))
def test_a_successor_of_a_successor_knows_as_much(life: tuple[list[int], list[int]], read: int) -> None:
    """However little the first successor had read when it committed."""
    offsets, finished = life
    progress = _lived(offsets, finished)
    successor = _restored(progress)
    for offset in [offset for offset in offsets if offset >= progress.base][:read]:
        successor.deliver(offset)
    second = _restored(successor)
    again = [offset for offset in offsets if offset >= successor.base and second.deliver(offset)]
    assert again == [offset for offset in offsets if offset not in finished]


@given(lives(), st.data())
def test_what_only_the_journal_knows_is_in_the_next_commit(
    life: tuple[list[int], list[int]], data: st.DataObject
) -> None:
    """A crash right after the restore must not make anything forgotten: the commit moves the journal's mark on."""
    offsets, finished = life
    committed = set(data.draw(st.lists(st.sampled_from(finished), unique=True))) if finished else set()
    before = _lived([offset for offset in offsets if not finished or offset <= max(committed, default=BASE)], [])
    for offset in committed:
        before.finish(offset)
    successor = _restored(before, finished=finished)
    second = _restored(successor)
    again = [offset for offset in offsets if offset >= successor.base and second.deliver(offset)]
    assert again == [offset for offset in offsets if offset not in finished]


@given(lives())
def test_a_record_that_comes_twice_is_executed_once(life: tuple[list[int], list[int]]) -> None:
    offsets, _ = life
    progress = Progress(BASE)
    assert [offset for offset in sorted(offsets * 2) if progress.deliver(offset)] == offsets


@given(lives(), st.integers(min_value=0), st.none() | st.integers(min_value=0))
def test_metadata_reads_back_as_it_was(life: tuple[list[int], list[int]], low: int, digest: int | None) -> None:
    offsets, finished = life
    pending = tuple(offset for offset in offsets if offset not in finished)
    base = min(pending, default=BASE)
    commit = Commit(low=low, digest=digest, end=max(offsets, default=base) + 1 if offsets else base, pending=pending)
    read = decode(base, encode(base, commit))
    assert read is not None
    assert (read.low, read.digest, read.pending) == (low, digest, pending)
    assert read.end == max(commit.end, base)


def test_a_record_that_was_deleted_from_the_topic_holds_nothing_up() -> None:
    progress = _lived([1000, 1001, 1002, 1003], [1001, 1003])
    successor = _restored(progress)
    assert [offset for offset in (1002, 1003, 1004) if successor.deliver(offset)] == [1002, 1004]
    successor.finish(1002)
    assert successor.base == 1004


def test_metadata_of_others_says_nothing() -> None:
    assert decode(5, "") is None
    assert decode(5, "somebody's") is None
    assert decode(5, "9:1:2:") is None


def test_hours_of_work_above_one_slow_command_fit_a_commit() -> None:
    progress = Progress(0)
    for offset in range(300_000):
        progress.deliver(offset)
        if offset % 5000:
            progress.finish(offset)
    text = progress.metadata(low=1, digest=2)
    assert text is not None
    assert len(text) < METADATA_LIMIT // 4
    assert progress.base == 0


@given(st.text(max_size=40) | st.from_regex(r"1:[0-9]{1,3}:[0-9]{0,3}:[A-Za-z0-9+/=]{0,40}", fullmatch=True))
def test_whatever_others_write_beside_an_offset_is_read_or_says_nothing(text: str) -> None:
    found = decode(5, text)
    assert found is None or found.low >= 0


def test_a_text_that_claims_more_than_any_owner_holds_says_nothing() -> None:
    bomb = base64.b64encode(zlib.compress(bytes([255, 255, 255, 255, 127]))).decode()
    assert decode(0, f"1:0::{bomb}") is None


@given(lives(), st.data())
def test_holes_that_no_commit_can_tell_do_not_hold_anything_up_for_good(
    life: tuple[list[int], list[int]], data: st.DataObject
) -> None:
    """Markers of callers' transactions look like commands that are not finished until they are passed over."""
    offsets, finished = life
    successor = Progress(BASE, finished=_offset_set(finished))
    read = data.draw(st.integers(0, len(offsets)))
    left = [offset for offset in offsets[:read] if successor.deliver(offset)]
    assert left == [offset for offset in offsets[:read] if offset not in finished]
    for offset in left:
        successor.finish(offset)
    everything = max(finished, default=BASE - 1)
    if read == len(offsets) and everything < successor.position:
        assert successor.base == successor.end
    assert successor.base <= min((offset for offset in offsets[read:] if offset not in finished), default=successor.end)


def test_a_hundred_thousand_transactions_are_read_past_before_they_are_committed() -> None:
    sizes = [1 + number * 7919 % 5 for number in range(100_000)]
    starts = list(accumulate((size + 1 for size in sizes), initial=0))
    commands = [start + number for start, size in zip(starts, sizes, strict=False) for number in range(size)]
    progress = Progress(0, finished=_offset_set(commands))
    assert progress.metadata(low=1, digest=None) is None
    assert not any(progress.deliver(offset) for offset in commands)
    assert progress.metadata(low=1, digest=None) is not None
    assert progress.base == commands[-1] + 1


def test_more_holes_than_a_commit_can_tell_leave_the_commit_before() -> None:
    progress = Progress(0)
    for offset in range(200_000):
        progress.deliver(offset)
        if hash((offset, "spread")) % 10:
            progress.finish(offset)
    assert progress.metadata(low=1, digest=None) is None
    for offset in range(180_000):
        progress.finish(offset)
    assert progress.metadata(low=1, digest=None) is not None
