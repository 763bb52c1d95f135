"""Brokers that live for a test or a run: quick to compile, with their data in memory where there is room."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from connector.dev.broker import QUICK, Broker

MEMORY = Path("/dev/shm")  # noqa: S108 - each broker makes a folder with a name of its own
ROOM = 2 * 1024**3


class QuickBroker(Broker):
    """A hundred partitions of a test cost a third in memory, and no wait for a disk."""

    def __init__(self, **given: Any) -> None:
        has_room = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM
        folder = tempfile.mkdtemp(prefix="twilio-kafka-", dir=MEMORY if has_room else None)
        super().__init__(jvm=QUICK, folder=Path(folder), **given)
        self._temporary = True
