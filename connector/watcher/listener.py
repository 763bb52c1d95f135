"""Requests of the control topic for the watches of this process: one reader hands them over, whatever their number."""

import asyncio
from collections.abc import Callable, Iterable, Mapping

from connector.errors import Unavailable
from connector.settings import KafkaSettings
from connector.state import control
from connector.telemetry.logs import logger

log = logger(__name__)

AGAIN_SECONDS = 2.0
# Owners that are opened at the same time begin with one reader.
GATHER_SECONDS = 0.1


class Listener:
    """Hands each watch the requests that it has not carried out yet, in their order, and those that come.

    `hand_over` gets a request and its offset; it must not raise.
    """

    def __init__(self, kafka: KafkaSettings, hand_over: Callable[[int, control.Request], None]) -> None:
        self._kafka = kafka
        self._hand_over = hand_over
        self._begins: dict[str, int] = {}
        self._position = 0
        # One listens; others that have made room for it are ending.
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, begins: Mapping[str, int]) -> None:
        """Listen for these watches as well, for each from an offset on: read again from the earliest that is passed."""
        if self._begins and min(begins.values()) >= self._position:
            self._begins.update(begins)
            return
        for name, begin in self._begins.items():
            self._begins[name] = max(begin, self._position)
        self._begins.update(begins)
        self._stop()
        self._position = min(self._begins.values())
        task = asyncio.create_task(self._listen(), name="control")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def remove(self, names: Iterable[str]) -> None:
        """Listen no more for these; return when nothing is left behind."""
        for name in names:
            self._begins.pop(name, None)
        if not self._begins and self._tasks:
            self._stop()
            await asyncio.wait(set(self._tasks))

    def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _listen(self) -> None:
        await asyncio.sleep(GATHER_SECONDS)
        while True:
            try:
                async for offset, entry in control.follow(self._kafka, self._position):
                    self._position = offset + 1
                    if isinstance(entry, control.Request) and offset >= self._begins.get(entry.watch, offset + 1):
                        self._hand_over(offset, entry)
            except Unavailable as error:
                log.warning("control topic cannot be read", reason=str(error))
            except Exception:
                log.exception("control topic cannot be read")
            await asyncio.sleep(AGAIN_SECONDS)
