"""Callbacks under trouble: signed forms to processes that come and go, again elsewhere until one says 2xx."""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from connector.twilio.signature import compute
from tests.guarantees.accounting import Account, of_callbacks
from tests.guarantees.stage import Disturbances, Stage, seeded
from tests.running import Connector, headers_of, read_all

SECTIONS: Mapping[str, Any] = {"roles": ["callbacks"]}
SIMULATED: Mapping[str, Any] = {}
TROUBLE: Mapping[str, float] = {"kill": 4, "freeze": 2, "terminate": 3, "broker": 2}
ANSWER_SECONDS = 6.0


@dataclass
class Traffic:
    """Sends callbacks as long as it runs; `sent` says of each token whether it was answered with a 2xx."""

    stage: Stage
    random: random.Random
    per_second: float = 60.0
    sent: dict[str, bool] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)
    ready: list[Connector] = field(default_factory=list)

    async def run(self, stop: asyncio.Event) -> None:
        """Send until stopped, then wait for the answers."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as tasks:
            balancing = tasks.create_task(self._balance(session))
            while not stop.is_set():
                token = f"token-{len(self.sent):08}"
                self.sent[token] = False
                tasks.create_task(self._deliver(session, token))
                await asyncio.sleep(self.random.expovariate(self.per_second))
            balancing.cancel()

    async def _balance(self, session: aiohttp.ClientSession) -> None:
        """What a load balancer does: ask who is ready, a few times a second."""
        while True:
            answers = await asyncio.gather(*(_is_ready(session, process) for process in self.stage.processes))
            self.ready = [one for one, ready in zip(self.stage.processes, answers, strict=True) if ready]
            await asyncio.sleep(0.25)

    async def _deliver(self, session: aiohttp.ClientSession, token: str) -> None:
        """As Twilio does: three times at the most, to whom the load balancer chooses."""
        for _ in range(3):
            process = self.random.choice(self.ready or self.stage.processes)
            self.sent[token] = await self._post(session, process, token)
            if self.sent[token]:
                return
            await asyncio.sleep(0.1)

    async def _post(self, session: aiohttp.ClientSession, process: Connector, token: str) -> bool:
        form = {
            "AccountSid": self.stage.simulator.account_sid,
            "MessageSid": f"SM{token:0>32}"[-34:],
            "MessageStatus": "sent",
        }
        url = f"{process.callbacks}/callbacks/message-status"
        signature = compute(url, list(form.items()), self.stage.simulator.auth_token)
        headers = {"X-Twilio-Signature": signature, "I-Twilio-Idempotency-Token": token}
        try:
            async with session.post(url, data=form, headers=headers) as answer:
                self.statuses[str(answer.status)] += 1
                return 200 <= answer.status < 300
        except (aiohttp.ClientError, TimeoutError) as error:
            self.statuses[type(error).__name__] += 1
            return False


async def _is_ready(session: aiohttp.ClientSession, process: Connector) -> bool:
    try:
        timeout = aiohttp.ClientTimeout(total=0.5)
        async with session.get(f"{process.admin}/readyz", timeout=timeout) as answer:
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


async def run(
    stage: Stage, *, seed: int, seconds: float, trouble: Mapping[str, float] = TROUBLE, per_second: float = 60.0
) -> tuple[Account, Counter[str]]:
    """Traffic and trouble for so long, then an orderly stop; what came of it, and what was done."""
    traffic = Traffic(stage, seeded(seed, "traffic"), per_second)
    disturbances = Disturbances(stage, seeded(seed, "trouble"), trouble)
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(traffic.run(stop))
        await disturbances.run(seconds)
        stop.set()
    codes = await stage.stop()
    stored = [headers_of(record)["ce_id"] for record in await read_all(stage.kafka, f"{stage.prefix}.message-status")]
    account = of_callbacks(traffic.sent, stored)
    account.counts |= {f"answered {name}": count for name, count in sorted(traffic.statuses.items())}
    account.promise("not ended in order", [str(code) for code in codes if code])
    return account, disturbances.done
