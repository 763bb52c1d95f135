"""Reads a list, day by day and page after page, and publishes its rows where TOPIC is given. No cursor, no safeguards.

Environment: API_URL, ACCOUNT_SID, TOKEN, DAYS, and KAFKA with TOPIC. Prints the rows and seconds.
"""

import asyncio
import os
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import orjson
import uvloop
from aiokafka import AIOKafkaProducer

Rows = list[dict[str, Any]]


async def main() -> None:
    """Read, publish, print."""
    started = time.monotonic()
    count = 0
    topic = os.environ.get("TOPIC")
    producer = AIOKafkaProducer(
        bootstrap_servers=os.environ["KAFKA"], acks="all", enable_idempotence=True, max_batch_size=262_144
    )
    await producer.start()
    auth = aiohttp.encode_basic_auth(os.environ["ACCOUNT_SID"], os.environ["TOKEN"])
    async with aiohttp.ClientSession(headers={"Authorization": auth}) as session:
        today = datetime.now(UTC).date()
        for back in range(int(os.environ["DAYS"]), -1, -1):
            day = today - timedelta(days=back)
            path = (
                f"/2010-04-01/Accounts/{os.environ['ACCOUNT_SID']}/Messages.json?PageSize=1000"
                f"&DateSent%3E={day}&DateSent%3C={day + timedelta(days=1)}"
            )
            while path:
                async with session.get(os.environ["API_URL"] + path) as answer:
                    page = orjson.loads(await answer.read())
                rows: Rows = page["messages"]
                count += len(rows)
                if topic:
                    sent = [
                        await producer.send(topic, orjson.dumps(row), key=row["sid"].encode()) for row in reversed(rows)
                    ]
                    await asyncio.gather(*sent)
                path = page["next_page_uri"]
    await producer.stop()
    print(count, time.monotonic() - started, flush=True)


if __name__ == "__main__":
    uvloop.run(main())
