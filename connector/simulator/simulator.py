"""The simulator as an object for tests and demos, and as a coroutine for the command line."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from connector import server_header
from connector.simulator import bulk, debugger, inbound, progress
from connector.simulator.accounts import Account
from connector.simulator.callbacks import Deliveries
from connector.simulator.faults import Fault, Faults
from connector.simulator.journal import Journal
from connector.simulator.rows import Message
from connector.simulator.server import Server
from connector.simulator.settings import Settings
from connector.simulator.state import State

SETTLE_SECONDS = 10.0


class Simulator:
    """A simulated Twilio on a port of its own.

    `accounts` default to one account with the constants of this package; `settings` are those of `Settings`.
    """

    def __init__(
        self,
        *,
        seed: int | str | None = None,
        accounts: Iterable[Account] = (),
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.state = State(seed=seed, accounts=accounts, settings=Settings().changed(settings or {}))
        self.state.deliveries.on_failure = lambda delivery: debugger.note_failure(self.state, delivery)
        self.url = ""
        self._runner: web.ServerRunner | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen, and return the base URL; port 0 takes a free one."""
        await self.state.deliveries.open()
        server = web.Server(Server(self.state).handle, access_log=None)
        server.request_factory = server_header.without(server.request_factory)
        self._runner = web.ServerRunner(server, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, backlog=1024).start()
        bound = self._runner.addresses[0]
        self.url = f"http://{f'[{bound[0]}]' if ':' in bound[0] else bound[0]}:{bound[1]}"
        self.state.base_url = self.url
        return self.url

    async def stop(self) -> None:
        """Stop life cycles and deliveries, and close the port."""
        self.state.agenda.clear()
        self.state.schedule.clear()
        await self.state.deliveries.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def account(self) -> Account:
        """The first account."""
        return next(iter(self.state.accounts.values()))

    @property
    def account_sid(self) -> str:
        """The SID of the first account."""
        return self.account.sid

    @property
    def auth_token(self) -> str:
        """The token of the first account."""
        return self.account.auth_token

    @property
    def seed(self) -> int | str:
        """The seed in use; print it to repeat a run."""
        return self.state.seed

    @property
    def journal(self) -> Journal:
        """Every request received."""
        return self.state.journal

    @property
    def faults(self) -> Faults:
        """The faults that are set."""
        return self.state.faults

    @property
    def deliveries(self) -> Deliveries:
        """Every webhook sent."""
        return self.state.deliveries

    def fault(self, kind: str, operation: str = "*", **options: Any) -> Fault:
        """Set a fault; see `faults` for kinds and options."""
        return self.state.faults.add(kind, operation, **options)

    def configure(self, **changes: Any) -> None:
        """Change settings; see `settings.Settings`."""
        self.state.configure(changes)

    def reset(self, seed: int | str | None = None) -> None:
        """Forget everything."""
        self.state.reset(seed)

    def fill(self, resource: str, **options: Any) -> list[str]:
        """Create rows in bulk; see `bulk.fill`. Returns their SIDs, oldest first."""
        return bulk.fill(self.state, resource, account_sid=options.pop("account_sid", self.account_sid), **options)

    def receive(self, *, from_: str, to: str, **options: Any) -> Message:
        """Let a message arrive; see `inbound.receive`."""
        account_sid = options.pop("account_sid", self.account_sid)
        return inbound.receive(self.state, account_sid=account_sid, from_=from_, to=to, **options)

    def set_status(self, sid: str, status: str, *, error_code: int | None = None, account_sid: str = "") -> None:
        """Move a message, call, recording or transcription to a status, with its callbacks."""
        progress.move(self.state, account_sid or self.account_sid, sid, status, error_code=error_code)

    async def settle(self, within: float = SETTLE_SECONDS) -> None:
        """Wait until no life cycle step and no delivery is left; raises TimeoutError after `within` seconds."""
        async with asyncio.timeout(within):
            await self.state.settled()


async def run(
    *,
    host: str = "127.0.0.1",
    port: int = 8090,
    seed: int | str | None = None,
    accounts: Iterable[Account] = (),
    settings: Mapping[str, Any] | None = None,
    ready: Callable[[Simulator], None] | None = None,
) -> None:
    """Run a simulator until cancelled; `ready` is told when it listens."""
    simulator = Simulator(seed=seed, accounts=accounts, settings=settings)
    try:
        await simulator.start(host, port)
        if ready is not None:
            ready(simulator)
        await asyncio.Event().wait()
    finally:
        await simulator.stop()
