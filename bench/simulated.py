"""The connector's Twilio simulator with many old messages, a process of its own.

Environment: PORT, ROWS, STEP (seconds between rows), PAGE_MS (how long a page of a list takes).
"""

import asyncio
import os
import signal

from bench.traffic import ACCOUNT_SID, TOKEN
from connector.simulator import Account, Simulator

OWN_MS = 15.0


async def main() -> None:
    """Serve until SIGTERM."""
    simulator = Simulator(accounts=[Account(sid=ACCOUNT_SID, auth_token=TOKEN)], seed=1)
    simulator.fill("messages", count=int(os.environ["ROWS"]), step=float(os.environ["STEP"]))
    # A page of a thousand rows takes some milliseconds by itself.
    if (page := float(os.environ.get("PAGE_MS", "0"))) > OWN_MS:
        simulator.fault("latency", "List*", seconds=(page - OWN_MS) / 1000)
    await simulator.start(port=int(os.environ["PORT"]))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await simulator.stop()


if __name__ == "__main__":
    asyncio.run(main())
