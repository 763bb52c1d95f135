"""Command record → POST → result record. No journal, no order, no reconciliation; a crash repeats requests.

Environment: KAFKA, COMMANDS, RESULTS, GROUP, API_URL, ACCOUNT_SID, TOKEN, IN_FLIGHT.
"""

import asyncio
import os
import signal
from urllib.parse import urlencode

import aiohttp
import orjson
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

IN_FLIGHT = int(os.environ["IN_FLIGHT"])
RESULTS = os.environ["RESULTS"]
URL = f"{os.environ['API_URL']}/2010-04-01/Accounts/{os.environ['ACCOUNT_SID']}/Messages.json"


async def main() -> None:
    """Execute until SIGTERM."""
    servers = os.environ["KAFKA"]
    consumer = AIOKafkaConsumer(
        os.environ["COMMANDS"],
        bootstrap_servers=servers,
        group_id=os.environ["GROUP"],
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all", enable_idempotence=True, max_batch_size=262_144)
    await producer.start()
    await consumer.start()
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
        headers={
            "Authorization": aiohttp.encode_basic_auth(os.environ["ACCOUNT_SID"], os.environ["TOKEN"]),
            "Content-Type": "application/x-www-form-urlencoded",
        },
        cookie_jar=aiohttp.DummyCookieJar(),
    )
    slots = asyncio.Semaphore(IN_FLIGHT)
    finished: dict[TopicPartition, int] = {}

    async def execute(record: ConsumerRecord) -> None:
        try:
            command = orjson.loads(record.value)
            form = {"To": command["to"], "From": command["from"], "Body": command["body"]}
            async with session.post(URL, data=urlencode(form).encode()) as answer:
                message = orjson.loads(await answer.read())
            result = {"id": dict(record.headers)["id"].decode(), "sid": message["sid"], "status": message["status"]}
            await producer.send_and_wait(RESULTS, orjson.dumps(result), key=record.key)
            place = TopicPartition(record.topic, record.partition)
            finished[place] = max(finished.get(place, 0), record.offset + 1)
        finally:
            slots.release()

    async def commit() -> None:
        while True:
            await asyncio.sleep(1)
            if finished:
                await consumer.commit(dict(finished))

    async def consume() -> None:
        async for record in consumer:
            await slots.acquire()
            task = asyncio.create_task(execute(record))
            running.add(task)
            task.add_done_callback(running.discard)

    running: set[asyncio.Task[None]] = set()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    tasks = [asyncio.create_task(consume()), asyncio.create_task(commit())]
    await stop.wait()
    for task in tasks:
        task.cancel()
    await session.close()
    await consumer.stop()
    await producer.stop()


if __name__ == "__main__":
    uvloop.run(main())
