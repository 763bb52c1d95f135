"""Two processes and one moment: the first stops at a step, the second takes over, the first wakes up or dies."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer

from connector.simulator import OTHER_PHONE_NUMBER, PHONE_NUMBER, Simulator
from connector.simulator.accounts import Account, ApiKey
from tests.running import PATIENCE_SECONDS, Connector, configuration, until, values, wait_for_records

SESSION_SECONDS = 2
LAUNCHER = "tests.guarantees.without"
SECTIONS: Mapping[str, Any] = {
    "roles": ["commands"],
    "kafka": {"session_timeout": f"{SESSION_SECONDS}s", "partitions": 2},
    "commands": {"settle_time": "500ms", "request_timeout": "1500ms"},
}


@dataclass
class Scene:
    """Two processes that may run, each with an API key of its own, so that the simulator can tell them apart."""

    kafka: str
    prefix: str
    simulator: Simulator
    first: Connector
    second: Connector
    producer: AIOKafkaProducer

    async def start(self, process: Connector, *, without: str = "", hold: str = "", ready: bool = True) -> None:
        """Start a process without a safeguard, or with a stop."""
        await process.start(module=LAUNCHER, environment={"WITHOUT": without, "HOLD": hold}, ready=ready)

    async def send(self, command_id: str, *, key: str = "key", body: str = "") -> None:
        """Send a message whose body is the command's id, unless another is given."""
        # Nobody listens for status callbacks here.
        value = {"to": OTHER_PHONE_NUMBER, "from": PHONE_NUMBER, "body": body or command_id, "status_callback": None}
        topic, headers = f"{self.prefix}.commands.send-message", [("id", command_id.encode())]
        await self.producer.send_and_wait(topic, orjson.dumps(value), key=key.encode(), headers=headers)

    def executed(self, *, by: Connector | None = None) -> list[str]:
        """The bodies of the messages that Twilio made, in their order; those of one process."""
        user = by.document["connections"]["default"].get("api_key") if by else None
        entries = [entry for entry in self.simulator.journal.of("CreateMessage") if entry.executed]
        return [dict(entry.parameters)["Body"] for entry in entries if user in (None, entry.credential)]

    async def results(self, count: int, *, within: float = PATIENCE_SECONDS) -> list[dict[str, Any]]:
        """The results, as soon as there are so many."""
        topic = f"{self.prefix}.results.send-message"
        return values(await wait_for_records(self.kafka, topic, count, within=within))

    async def outcomes(self, count: int, *, within: float = PATIENCE_SECONDS) -> Counter[tuple[str, str]]:
        """How often each command had which outcome."""
        return Counter((one["command"]["id"], one["outcome"]) for one in await self.results(count, within=within))


@contextlib.asynccontextmanager
async def scene(kafka: str, prefix: str, folder: Path, **sections: Any) -> AsyncIterator[Scene]:
    """Topics, simulator, and two processes that are not started yet."""
    keys = tuple(ApiKey(sid=f"SK{number:032}", secret=f"secret-{number}") for number in (1, 2))
    producer = AIOKafkaProducer(bootstrap_servers=kafka, enable_idempotence=True)
    async with Simulator(seed=1, accounts=[Account(api_keys=keys)]) as simulator:
        document = configuration(simulator, kafka=kafka, prefix=prefix)
        for name, section in (*SECTIONS.items(), *sections.items()):
            document[name] = {**document.get(name, {}), **section} if isinstance(section, dict) else section
        first, second = (_with_key(document, folder, number, key) for number, key in enumerate(keys, start=1))
        await first.apply_topics()
        await producer.start()
        try:
            yield Scene(kafka, prefix, simulator, first, second, producer)
        finally:
            await producer.stop()
            await asyncio.gather(*(process.kill() for process in (first, second) if process.process is not None))


def _with_key(document: Mapping[str, Any], folder: Path, number: int, key: ApiKey) -> Connector:
    plain = Connector(document, folder).sibling(f"connector-{number}")
    default = {**document["connections"]["default"], "api_key": key.sid, "api_secret": key.secret}
    return Connector({**plain.document, "connections": {"default": default}}, folder, name=plain.name)


async def stopped(process: Connector, *, within: float = PATIENCE_SECONDS) -> None:
    """Wait until the process has stopped itself."""
    assert process.process is not None
    status = Path(f"/proc/{process.process.pid}/stat")
    await until(lambda: status.read_text().rpartition(")")[2].split()[0] == "T", within=within)
