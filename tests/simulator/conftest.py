from collections.abc import AsyncIterator

import pytest
from simulator_world import Hooks, Sdk

from connector.simulator import Simulator


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(seed=1) as running:
        yield running


@pytest.fixture
async def hooks() -> AsyncIterator[Hooks]:
    async with Hooks() as running:
        yield running


@pytest.fixture
async def sdk(simulator: Simulator) -> AsyncIterator[Sdk]:
    async with Sdk(simulator) as client:
        yield client
