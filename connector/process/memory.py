"""What a burst has needed is given back to the system.

glibc keeps freed memory between pieces that are in use: a command with half a million mistakes, or fifty answers of a
megabyte, would stay in a process's size for good. So would what Kafka's and HTTP's clients leave behind when a reader
ends or a connection breaks: objects that refer to each other, with the buffers that they were read into. Python looks
for those after so many objects, whatever their size.
"""

import asyncio
import ctypes
import gc
import os
import sys
import time
from pathlib import Path

LOOK_SECONDS = 10.0
# Times as long as a collection has taken until the next one: a page of a thousand rows at each poll is growth as well.
REST = 2_000
# Below this, the page faults of taking it again cost more than it is worth.
GROWN_BYTES = 4 * 1024**2

STATM = Path("/proc/self/statm")


async def give_back() -> None:
    """Collect cycles and trim the heap soon after the start and whenever this process has grown, until cancelled.

    Does nothing without Linux and glibc.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is None:
        return
    # At first what the start has needed.
    least, took = 0, 0.0
    while True:
        await asyncio.sleep(max(LOOK_SECONDS, REST * took))
        if resident_bytes() > least + GROWN_BYTES:
            # What came before the start is frozen: some milliseconds.
            began = time.thread_time()
            gc.collect()
            took = time.thread_time() - began
            # Some milliseconds: in a thread, and ctypes lets go of the interpreter.
            await asyncio.to_thread(trim, 0)
            least = resident_bytes()
        else:
            least = min(least, resident_bytes())


def resident_bytes() -> int:
    """How much memory this process has resident."""
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
