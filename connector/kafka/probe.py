"""Whether Kafka answers, asked every few seconds: readiness, and one log line when it goes away and when it is back."""

import asyncio
from collections.abc import Callable

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from connector import telemetry
from connector.errors import Unavailable
from connector.kafka import clients, diagnosis
from connector.settings import KafkaSettings

log = telemetry.logger(__name__)

INTERVAL_SECONDS = 2.0
ANSWER_SECONDS = 3.0


class Probe:
    """Asks for the end of one partition of `topic`. `reachable` is the last answer.

    `renew` is called whenever there is none: it may read anew what Kafka knows us by.
    """

    def __init__(self, kafka: KafkaSettings, topic: str, *, renew: Callable[[], object]) -> None:
        self.reachable = False
        self._renew = renew
        self._kafka = kafka
        self._partition = TopicPartition(topic, 0)
        self._consumer: AIOKafkaConsumer | None = None

    async def run(self) -> None:
        """Ask until cancelled."""
        try:
            while True:
                await self._note(await self._ask())
                await asyncio.sleep(INTERVAL_SECONDS)
        finally:
            await self._close()

    async def _ask(self) -> bool:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                if self._consumer is None:
                    self._consumer = await clients.start(clients.reader(self._kafka))
                await self._consumer.end_offsets([self._partition])
        except (KafkaError, Unavailable, TimeoutError):
            await self._close()
            self._renew()
            return False
        return True

    async def _note(self, reachable: bool) -> None:  # noqa: FBT001 - the answer itself
        if reachable and not self.reachable:
            log.info("kafka answers")
        elif self.reachable and not reachable:
            self.reachable = False
            log.warning("kafka does not answer", reason=str(await diagnosis.cause(self._kafka) or "It is slow."))
        self.reachable = reachable

    async def _close(self) -> None:
        if self._consumer is not None:
            await clients.end(self._consumer)
            self._consumer = None
