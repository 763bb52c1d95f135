"""A short, seeded piece of `make chaos`: every promise is kept by three processes that are killed, frozen and ended."""

from pathlib import Path

import pytest

from tests.guarantees import chaos

SECONDS = 8.0


@pytest.mark.parametrize("kind", ["commands", "watches", "callbacks"])
async def test_promises_are_kept_in_trouble(tmp_path: Path, kind: str) -> None:
    account, disturbances = await chaos.one(kind, seed=4, seconds=SECONDS, folder=tmp_path)
    assert disturbances
    assert account.kept, chaos.report(kind, seed=4, seconds=SECONDS, account=account, disturbances=disturbances)
