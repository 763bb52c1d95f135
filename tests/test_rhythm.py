"""What is done regularly is done soon after a change, and seldom without one."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from connector.executor import under_way
from connector.executor.under_way import Committer, Rhythm
from connector.process.rhythm import until_next

NEVER = 3600.0
AT_ONCE = 0.001


async def test_a_change_is_followed_by_a_turn_however_seldom_the_quiet_ones_are() -> None:
    beat = Rhythm(AT_ONCE)
    waiting = asyncio.create_task(beat.turn(quiet=NEVER))
    await asyncio.sleep(0)
    beat.changed()
    async with asyncio.timeout(10):
        await waiting
        # What a change has caused may take further turns.
        await beat.turn(quiet=NEVER)


async def test_a_change_between_two_turns_is_not_missed() -> None:
    beat = Rhythm(AT_ONCE)
    beat.changed()
    async with asyncio.timeout(10):
        await beat.turn(quiet=NEVER)


async def test_one_change_wakes_all_that_wait() -> None:
    beat = Rhythm(AT_ONCE)
    waiting = [asyncio.create_task(beat.turn(quiet=NEVER)) for _ in range(3)]
    await asyncio.sleep(0)
    beat.changed()
    async with asyncio.timeout(10):
        await asyncio.gather(*waiting)


@pytest.mark.parametrize(("clock", "left"), [(7.5, 2.5), (9.99, 10.01), (10.0, 10.0), (10.01, 9.99)])
async def test_what_is_due_together_is_done_together_and_not_twice(clock: float, left: float) -> None:
    loop = asyncio.get_running_loop()
    now, loop.time = loop.time, lambda: clock  # type: ignore[method-assign]  # a clock that stands still
    try:
        assert until_next(10.0) == pytest.approx(left)
    finally:
        loop.time = now  # type: ignore[method-assign]


async def test_without_a_change_the_quiet_turns_are_what_remains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_way, "AWAKE_SECONDS", 0.0)
    beat = Rhythm(NEVER)
    beat.changed()
    async with asyncio.timeout(10):
        await beat.turn(quiet=AT_ONCE)
        await beat.turn(quiet=NEVER, within=AT_ONCE)


async def test_what_has_changed_during_a_slow_commit_is_committed_though_nothing_follows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The commit takes longer than a change keeps its owner awake."""
    monkeypatch.setattr(under_way, "AWAKE_SECONDS", 0.0)
    monkeypatch.setattr(under_way, "CONFIRM_SECONDS", 0.05)
    beat, finished, accepted = Rhythm(AT_ONCE), {"topic": (1, "")}, list[Any]()

    async def commit(values: Any) -> bool:
        accepted.append(values["topic"][0])
        if finished["topic"] == (1, ""):
            finished["topic"] = 2, ""
            beat.changed()
            await asyncio.sleep(0.1)
        return True

    async def confirm() -> bool:
        accepted.append("confirmed")
        return True

    assignment: Any = SimpleNamespace(commit=commit, confirm=confirm)
    committing = asyncio.create_task(Committer(assignment, beat, lambda: {**finished}).run())
    async with asyncio.timeout(30):
        while "confirmed" not in accepted:  # noqa: ASYNC110 - another task's doing
            await asyncio.sleep(0.01)
    committing.cancel()
    assert accepted[:3] == [1, 2, "confirmed"]


async def test_without_a_change_the_membership_is_proved_and_nothing_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also after a refusal what is finished is committed anew."""
    monkeypatch.setattr(under_way, "CONFIRM_SECONDS", 0.0)
    beat, told, answers = Rhythm(AT_ONCE), list[str](), iter([True, True, False, True])

    async def answer(what: str) -> bool:
        told.append(what)
        return next(answers)

    def finished() -> dict[str, tuple[int, str]]:
        told.append("look")
        return {"topic": (1, "")}

    assignment: Any = SimpleNamespace(
        commit=lambda _values: answer("commit"), confirm=lambda: answer("confirm"), held=True
    )
    committer = Committer(assignment, beat, finished)
    for _ in range(4):
        await committer.commit()
    assert told == ["look", "commit", "confirm", "confirm", "look", "commit"]
