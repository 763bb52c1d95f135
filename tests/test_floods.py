"""A few seconds of what `make flood` does for minutes: whatever strangers do, honest callbacks are answered."""

from pathlib import Path

import pytest

from tests.floods import floods

ATTACKS = ("unfinished heads", "unfinished bodies", "random requests")
SHARE = 0.05
SECONDS = 1.0


@pytest.mark.timeout(240)
async def test_under_every_attack_honest_callbacks_are_answered(kafka: str, prefix: str, tmp_path: Path) -> None:
    outcomes = await floods(kafka, prefix, tmp_path, names=ATTACKS, share=SHARE, seconds=SECONDS)
    assert len(outcomes) == len(ATTACKS)
    assert {outcome.name: outcome.broken for outcome in outcomes if outcome.broken} == {}
