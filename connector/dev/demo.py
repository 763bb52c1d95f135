"""Demo traffic: commands through Kafka, as any application would send them, and messages that come in."""

import asyncio
import contextlib
import itertools
import json
import random
import uuid

from connector.errors import Unavailable
from connector.events import Record
from connector.kafka import produce
from connector.settings import Settings
from connector.simulator import PHONE_NUMBER, Simulator

TEXTS = ("Your parcel is on its way.", "Your table is booked for 7 pm.", "Your code is 4711.", "See you tomorrow!")
PEOPLE = tuple(f"+1555010{number:04d}" for number in range(1, 9))
PAUSE_SECONDS = 2.0


async def traffic(settings: Settings, simulator: Simulator) -> None:
    """Send a message every two seconds, one that fails now and then, and let one come in; until cancelled.

    While Kafka is away there is no traffic; it goes on by itself when Kafka is back.
    """
    choose = random.Random(7)  # noqa: S311 - a demo
    simulator.configure(outcome_by_number={PEOPLE[-1]: "undelivered"})
    for number in itertools.count(1):
        # Pause first, so that the terminal already shows traffic when the first message is sent.
        await asyncio.sleep(PAUSE_SECONDS)
        person = choose.choice(PEOPLE)
        with contextlib.suppress(Unavailable):
            if number % 4 == 0:
                simulator.receive(from_=person, to=PHONE_NUMBER, body="Thank you!")
            elif number % 11 == 0:
                value = {"to": "not a number", "from": PHONE_NUMBER, "body": "This one is rejected."}
                await _send(settings, value, key=person)
            else:
                await _send(settings, {"to": person, "from": PHONE_NUMBER, "body": choose.choice(TEXTS)}, key=person)


async def _send(settings: Settings, value: dict[str, str], *, key: str) -> None:
    topic = f"{settings.kafka.topic_prefix}.commands.send-message"
    headers = [("id", str(uuid.uuid4()).encode())]
    await produce.send(settings.kafka, Record(topic, key.encode(), json.dumps(value).encode(), headers))
