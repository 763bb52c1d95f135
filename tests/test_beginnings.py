"""Where a new owner begins: what is known is believed as far as it goes, and nothing beyond it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.executor.offsets import Commit, encode
from connector.executor.restoring import Beginning, Found, beginnings
from connector.state import checkpoints
from connector.state.checkpoints import Checkpoint, Commits

TOPIC, JOURNAL = "t.commands.get", "t.journal"
IDS: Mapping[str, str] = {TOPIC: "a", JOURNAL: "j"}


def commits(base: int, *, low: int, end: int | None = None) -> Commits:
    """What an owner has committed."""
    return {TOPIC: (base, encode(base, Commit(low=low, digest=None, end=end or base)))}


def found(**more: Any) -> Found:
    """Ten commands, a journal of twenty entries, nothing else."""
    given: dict[str, Any] = {
        "journal": JOURNAL,
        "group": {},
        "checkpoint": None,
        "bounds": {TOPIC: (0, 10), JOURNAL: (0, 20)},
        "ids": IDS,
        "has_results": True,
    }
    return Found(**(given | more))


def begin(**more: Any) -> Beginning:
    """Where to begin with the topic."""
    return beginnings(found(**more), [TOPIC])[TOPIC]


def kept(base: int, *, low: int, **more: Any) -> Checkpoint:
    """A checkpoint of the topics as they are."""
    return Checkpoint(commits(base, low=low), **{"ids": IDS, **more})


EMPTIED = {TOPIC: (0, 10), JOURNAL: (20, 20)}
RECREATED = {TOPIC: (0, 10), JOURNAL: (0, 0)}
FENCED = {TOPIC: (0, 10), JOURNAL: (0, 3)}


@pytest.mark.parametrize(
    ("case", "base", "doubtful"),
    [
        pytest.param({"has_results": False, "bounds": {TOPIC: (0, 10), JOURNAL: (0, 0)}}, 0, 0, id="first start"),
        pytest.param({"group": commits(4, low=12)}, 4, 0, id="as it was left"),
        pytest.param({}, 0, 0, id="no offsets, a whole journal"),
        pytest.param({"bounds": EMPTIED}, 0, 10, id="no offsets, a journal that was emptied"),
        pytest.param({"bounds": RECREATED}, 0, 10, id="no offsets, another journal, but results"),
        pytest.param(
            {"bounds": FENCED, "has_only_fences": True}, 0, 10, id="no offsets, a journal of fences, but results"
        ),
        pytest.param(
            {"bounds": FENCED, "has_only_fences": True, "has_results": False}, 0, 0, id="first start, with fences"
        ),
        pytest.param({"bounds": EMPTIED, "group": commits(4, low=20)}, 4, 0, id="an emptied journal said nothing more"),
        pytest.param({"bounds": EMPTIED, "group": commits(4, low=12)}, 4, 10, id="a journal that lost entries"),
        pytest.param({"bounds": RECREATED, "group": commits(4, low=12)}, 4, 10, id="a journal cut off at its end"),
        pytest.param({"bounds": EMPTIED, "checkpoint": kept(5, low=20)}, 5, 0, id="a checkpoint alone"),
        pytest.param({"bounds": EMPTIED, "checkpoint": kept(5, low=19)}, 5, 10, id="a checkpoint that is too old"),
        pytest.param(
            {"checkpoint": kept(5, low=13), "group": commits(4, low=12)}, 5, 0, id="a checkpoint that is newer"
        ),
        pytest.param({"checkpoint": kept(5, low=13), "group": commits(6, low=14)}, 6, 0, id="a commit that is newer"),
        pytest.param(
            {"checkpoint": kept(5, low=13, outdated=commits(6, low=14)), "group": commits(6, low=14)},
            5,
            0,
            id="a commit that was corrected",
        ),
        pytest.param({"checkpoint": kept(5, low=13, doubtful={TOPIC: 8})}, 5, 8, id="a doubt that is not over"),
        pytest.param({"checkpoint": kept(5, low=13), "ids": {**IDS, JOURNAL: "k"}}, 5, 10, id="a journal created anew"),
        pytest.param(
            {"checkpoint": kept(5, low=13, is_final=True), "ids": {**IDS, JOURNAL: "k"}, "bounds": RECREATED},
            5,
            0,
            id="a journal created anew after an orderly stop",
        ),
        pytest.param(
            {"checkpoint": kept(5, low=20, is_final=True), "bounds": {TOPIC: (0, 10), JOURNAL: (25, 25)}},
            5,
            10,
            id="a journal that was written and emptied after an orderly stop",
        ),
        pytest.param({"checkpoint": kept(5, low=13), "ids": {**IDS, TOPIC: "b"}}, 0, 10, id="a topic created anew"),
        pytest.param({"group": commits(12, low=12)}, 0, 10, id="a topic that is shorter, whichever it is"),
        pytest.param({"checkpoint": kept(12, low=12)}, 10, 0, id="a topic that has lost its end"),
        pytest.param({"group": {TOPIC: (7, "")}}, 7, 0, id="an operator goes on later"),
        pytest.param({"group": {TOPIC: (2, "")}, "checkpoint": kept(5, low=13)}, 5, 0, id="an operator goes back"),
        pytest.param({"group": {TOPIC: (99, "")}, "checkpoint": kept(5, low=13)}, 5, 0, id="an offset of no topic"),
        pytest.param({"checkpoint": kept(5, low=13), "ids": {}}, 5, 0, id="a broker without ids"),
    ],
)
def test_what_was_executed_is_known_as_far_as_it_is_told(case: dict[str, Any], base: int, doubtful: int) -> None:
    begun = begin(**case)
    assert (begun.base, begun.doubtful) == (base, doubtful)
    assert bool(begun.reason) == (doubtful == 10 or base == 10)


def test_of_a_topic_created_anew_the_former_attempts_are_read_and_its_ends_are_not() -> None:
    begun = begin(checkpoint=kept(5, low=13), ids={**IDS, TOPIC: "b"})
    assert (begun.low, begun.read_from) == (20, 13)


offsets = st.integers(0, 30)
some_commits = st.none() | st.tuples(offsets, offsets, offsets).map(
    lambda three: commits(three[0], low=three[1], end=max(three[0], three[2]))
)


@given(some_commits, some_commits, st.tuples(offsets, offsets, offsets, offsets), st.data())
def test_whatever_is_found_a_beginning_lies_within_its_topic_and_its_journal(
    group: Commits | None, checkpoint: Commits | None, sizes: tuple[int, int, int, int], data: st.DataObject
) -> None:
    start, size, first, entries = sizes
    is_final = data.draw(st.booleans())
    begun = begin(
        group=group or {},
        checkpoint=Checkpoint(checkpoint, ids=IDS, is_final=is_final) if checkpoint is not None else None,
        bounds={TOPIC: (start, start + size), JOURNAL: (first, first + entries)},
        ids={**IDS, TOPIC: data.draw(st.sampled_from(["a", "b"]))},
    )
    assert start <= begun.base <= start + size
    assert first <= begun.read_from <= first + entries
    assert begun.doubtful in (0, start + size)
    assert begun.commit is None or begun.commit.end <= start + size


@given(some_commits, st.dictionaries(st.just(TOPIC), offsets), st.booleans())
def test_a_checkpoint_reads_back_as_it_was(held: Commits | None, doubtful: dict[str, int], final: bool) -> None:  # noqa: FBT001 - drawn
    marks = {"is_final": final, "has_lost_ids": not final}
    checkpoint = Checkpoint(held or {}, ids=IDS, doubtful=doubtful, outdated=held or {}, **marks)
    record = checkpoints.encode("t", checkpoint, partition=1)
    assert record.value is not None
    assert checkpoints.decode(record.value) == checkpoint
    assert replace(checkpoint, commits={}) != checkpoint or not held


@pytest.mark.parametrize("value", [b"", b"null", b"[]", b"{}", b'{"commits": 1}', b'{"commits": {"t": [1]}}', b"\xff"])
def test_what_is_not_a_checkpoint_is_told_apart(value: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        checkpoints.decode(value)
