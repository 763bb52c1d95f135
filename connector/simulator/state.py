"""Everything that the simulator remembers: accounts, their rows, settings, faults, journal, deliveries, randomness."""

import secrets
import time
from collections.abc import Iterable, Mapping
from random import Random
from typing import Any

from connector.simulator.accounts import Account
from connector.simulator.agenda import Agenda
from connector.simulator.callbacks import Deliveries
from connector.simulator.faults import Faults
from connector.simulator.journal import Journal
from connector.simulator.settings import Settings
from connector.simulator.store import Store

TIE_STEPS = 2**40


class State:
    """One simulated Twilio; equal seeds give equal SIDs and choices for equal requests."""

    def __init__(self, *, seed: int | str | None, accounts: Iterable[Account], settings: Settings) -> None:
        self._initial = (tuple(accounts) or (Account(),), settings)
        self.seed: int | str = secrets.randbits(32) if seed is None else seed
        self.journal = Journal()
        self.deliveries = Deliveries(self)
        self.agenda = Agenda()
        self.schedule = Agenda()  # messages to be sent on a day to come
        self.base_url = ""
        self.reset(self.seed)

    def reset(self, seed: int | str | None = None) -> None:
        """Forget everything and start from a seed (None: a random one)."""
        accounts, self.settings = self._initial
        self.seed = secrets.randbits(32) if seed is None else seed
        self.random = self.stream("choices")
        self.faults = Faults(self.stream("faults"))
        self._sids: dict[str, Random] = {}  # one generator a prefix: requests do not disturb the SIDs of messages
        self._created = 0
        self.accounts = {account.sid: account for account in accounts}
        self.stores = {sid: Store(self, account) for sid, account in self.accounts.items()}
        self.journal.clear()
        self.agenda.clear()
        self.schedule.clear()
        self.deliveries.clear()

    def stream(self, name: str) -> Random:
        """Return a generator of its own for one purpose."""
        return Random(f"{self.seed}/{name}")  # noqa: S311 - reproducible choices are the point

    def configure(self, changes: Mapping[str, Any]) -> None:
        """Change settings; raises ValueError for an unknown name."""
        former = self.settings.clock_ahead
        self.settings = self.settings.changed(changes)
        self._move_clock(self.settings.clock_ahead - former)

    def _move_clock(self, seconds: float) -> None:
        """What lists hide stays hidden for as long as before."""
        rows = (row for store in self.stores.values() for held in store.collections() for row in held.rows.values())
        for row in rows if seconds else ():
            row.visible_at += seconds if row.visible_at else 0.0

    def add_account(self, account: Account) -> Account:
        """Add or replace an account, keeping its rows."""
        self.accounts[account.sid] = account
        if account.sid in self.stores:
            self.stores[account.sid].account = account
        else:
            self.stores[account.sid] = Store(self, account)
        return account

    async def settled(self) -> None:
        """Wait until no life cycle step and no delivery is left; messages scheduled for later do not count."""
        while len(self.agenda) or self.deliveries.pending:
            await self.agenda.idle.wait()
            await self.deliveries.idle.wait()

    def now(self) -> float:
        """Return the time by Twilio's clock, epoch seconds."""
        return time.time() + self.settings.clock_ahead

    def new_sid(self, prefix: str) -> str:
        """Return a fresh SID: two letters and 32 hexadecimal digits."""
        stream = self._sids.get(prefix)
        if stream is None:
            stream = self._sids[prefix] = self.stream(f"sids/{prefix}")
        return f"{prefix}{stream.getrandbits(128):032x}"

    def new_tie(self, sid: str) -> int:
        """Return the order of a new row within its second, as the settings say."""
        self._created += 1
        match self.settings.ties:
            case "oldest":
                return TIE_STEPS - self._created
            case "sid":
                return int(sid[2:12], 16)
            case _:
                return self._created
