"""Form post → JSON record → 204 after the acknowledgement (acks=all). Checks nothing: no signature, no types.

Environment: PORT, KAFKA, TOPIC.
"""

import asyncio
import os
import signal
from urllib.parse import parse_qsl

import orjson
import uvloop
from aiohttp import web
from aiokafka import AIOKafkaProducer


async def main() -> None:
    """Serve until SIGTERM."""
    topic = os.environ["TOPIC"]
    producer = AIOKafkaProducer(
        bootstrap_servers=os.environ["KAFKA"], acks="all", enable_idempotence=True, max_batch_size=262_144
    )
    await producer.start()

    async def take(request: web.Request) -> web.Response:
        fields = dict(parse_qsl((await request.read()).decode(), keep_blank_values=True))
        await producer.send_and_wait(topic, orjson.dumps(fields), key=fields["MessageSid"].encode())
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/callbacks/message-status", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(os.environ["PORT"]), reuse_port=True, backlog=1024).start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await runner.cleanup()
    await producer.stop()


if __name__ == "__main__":
    uvloop.run(main())
