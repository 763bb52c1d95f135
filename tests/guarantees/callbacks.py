"""Callbacks under trouble: signed forms to processes that come and go, again elsewhere until one says 2xx."""

import asyncio
import random
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
from aiokafka import ConsumerRecord

from connector.twilio.signature import compute
from tests.guarantees.accounting.account import Account
from tests.guarantees.accounting.callbacks import Callback, Stored, of_callbacks
from tests.guarantees.stage import Disturbances, Stage, seeded
from tests.running import Connector, headers_of, read_all

SECTIONS: Mapping[str, Any] = {"roles": ["callbacks"]}
SIMULATED: Mapping[str, Any] = {}
DIMENSIONS = ("tokens",)
TROUBLE: Mapping[str, float] = {"kill": 4, "freeze": 2, "terminate": 3, "broker": 2}
ANSWER_SECONDS = 6.0
FORGED = 0.05
FIELDS = {"AccountSid": "account_sid", "MessageSid": "message_sid", "MessageStatus": "message_status"}


@dataclass
class Traffic:
    """Sends callbacks as long as it runs; `sent` are the callbacks by their message's SID. Some are forged."""

    stage: Stage
    random: random.Random
    per_second: float = 60.0
    dimensions: Collection[str] = ()
    sent: dict[str, Callback] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)
    ready: list[Connector] = field(default_factory=list)

    async def run(self, stop: asyncio.Event) -> None:
        """Send until stopped, then wait for the answers."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as tasks:
            balancing = tasks.create_task(self._balance(session))
            while not stop.is_set():
                callback = self._next()
                self.sent[callback.form["MessageSid"]] = callback
                tasks.create_task(self._deliver(session, callback))
                await asyncio.sleep(self.random.expovariate(self.per_second))
            balancing.cancel()

    async def _balance(self, session: aiohttp.ClientSession) -> None:
        """What a load balancer does: ask who is ready, a few times a second."""
        while True:
            answers = await asyncio.gather(*(_is_ready(session, process) for process in self.stage.processes))
            self.ready = [one for one, ready in zip(self.stage.processes, answers, strict=True) if ready]
            await asyncio.sleep(0.25)

    def _next(self) -> Callback:
        form = {
            "AccountSid": self.stage.simulator.account_sid,
            "MessageSid": f"SM{len(self.sent):032}",
            "MessageStatus": self.random.choice(("sent", "delivered")),
        }
        return Callback(form=form, is_forged=self.random.random() < FORGED)

    async def _deliver(self, session: aiohttp.ClientSession, callback: Callback) -> None:
        """As Twilio does: three times at the most, to whom the load balancer chooses."""
        for _ in range(3):
            process = self.random.choice(self.ready or self.stage.processes)
            callback.statuses.append(await self._post(session, process, callback))
            if callback.is_stored:
                return
            await asyncio.sleep(0.1)

    async def _post(self, session: aiohttp.ClientSession, process: Connector, callback: Callback) -> int:
        """The status of the answer, 0 for none."""
        url = f"{process.callbacks}/callbacks/message-status"
        token = "forged" if callback.is_forged else self.stage.simulator.auth_token
        signature = compute(url, list(callback.form.items()), token)
        # It is not signed: a stranger may send what Twilio signed once more, under a token of his own.
        idempotency = f"{len(callback.statuses)}" if "tokens" in self.dimensions else callback.form["MessageSid"]
        headers = {"X-Twilio-Signature": signature, "I-Twilio-Idempotency-Token": idempotency}
        try:
            async with session.post(url, data=callback.form, headers=headers) as answer:
                self.statuses[str(answer.status)] += 1
                return answer.status
        except (aiohttp.ClientError, TimeoutError) as error:
            self.statuses[type(error).__name__] += 1
            return 0


async def _is_ready(session: aiohttp.ClientSession, process: Connector) -> bool:
    try:
        timeout = aiohttp.ClientTimeout(total=0.5)
        async with session.get(f"{process.admin}/readyz", timeout=timeout) as answer:
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


def _stored(record: ConsumerRecord) -> Stored:
    data = orjson.loads(record.value)
    form = {name: data[field] for name, field in FIELDS.items()}
    return Stored(id=headers_of(record)["ce_id"], name=data["message_sid"], form=form)


async def run(
    stage: Stage,
    *,
    seed: int,
    seconds: float,
    trouble: Mapping[str, float] = TROUBLE,
    per_second: float = 60.0,
    dimensions: Collection[str] = DIMENSIONS,
) -> tuple[Account, Counter[str]]:
    """Traffic and trouble for so long, then an orderly stop; what came of it, and what was done."""
    traffic = Traffic(stage, seeded(seed, "traffic"), per_second, dimensions)
    disturbances = Disturbances(stage, seeded(seed, "trouble"), trouble)
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(traffic.run(stop))
        await disturbances.run(seconds)
        stop.set()
    codes = await stage.stop()
    records = await read_all(stage.kafka, f"{stage.prefix}.message-status")
    account = of_callbacks(traffic.sent, [_stored(record) for record in records])
    account.counts |= {f"answered {name}": count for name, count in sorted(traffic.statuses.items())}
    account.promise("not ended in order", [str(code) for code in codes if code])
    return account, disturbances.done
