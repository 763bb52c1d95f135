"""A few records, written by a producer of their own."""

import asyncio

from connector.events import Record
from connector.kafka import clients, failures
from connector.kafka.sending.sender import Sender
from connector.settings import KafkaSettings


async def send(kafka: KafkaSettings, *records: Record) -> None:
    """Write a few records and wait until all are acknowledged.

    Raises Unavailable, Unwritable.
    """
    topics = ", ".join(dict.fromkeys(record.topic for record in records))
    sender = await clients.start(Sender(kafka))
    try:
        with failures.writing(f"A record for {topics} was not acknowledged"):
            async with asyncio.timeout(clients.START_SECONDS):
                await sender.write(records)
    finally:
        await clients.end(sender)
