"""A plug-in of pytest: the fixture `twilio_simulator`, for test suites of programs that talk to Twilio.

It is there as soon as `twilio-kafka-connector` is installed (entry point `pytest11`). Nothing is imported or started
before a test asks for it; one server serves the whole run, and every test finds it as new.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from connector.simulator.background import BackgroundSimulator


@pytest.fixture(scope="session")
def _twilio_simulator_of_the_run() -> "Iterator[BackgroundSimulator]":
    """The server on a free port of loopback."""
    from connector.simulator.background import BackgroundSimulator  # noqa: PLC0415 - only who asks for it waits for it

    running = BackgroundSimulator()
    yield running
    running.stop()


@pytest.fixture
def twilio_simulator(_twilio_simulator_of_the_run: "BackgroundSimulator") -> "BackgroundSimulator":
    """A simulated Twilio with `url`, `account_sid`, `auth_token`, `client()`, `receive()`, `fault()`, `requests()`.

    The SIDs are the same in every run: `reset(seed)` chooses others.
    """
    _twilio_simulator_of_the_run.reset(seed=0)
    return _twilio_simulator_of_the_run
