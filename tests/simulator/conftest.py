from collections.abc import AsyncIterator

import pytest

from connector.simulator import Simulator
from tests.simulator.simulator_world import Hooks, Sdk

QUICK = {
    "send_delay": 0.01,
    "deliver_delay": 0.01,
    "price_delay": 0.01,
    "dial_delay": 0.01,
    "ring_delay": 0.01,
    "answer_delay": 0.01,
    "talk_seconds": 0.05,
    "process_delay": 0.01,
    "transcribe_delay": 0.01,
    "amd_delay": 0.01,
}


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(seed=1, settings=QUICK) as running:
        yield running


@pytest.fixture
async def hooks() -> AsyncIterator[Hooks]:
    async with Hooks() as running:
        yield running


@pytest.fixture
async def sdk(simulator: Simulator) -> AsyncIterator[Sdk]:
    async with Sdk(simulator) as client:
        yield client
