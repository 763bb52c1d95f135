"""Everything that the simulator remembers: the world, rows, faults, journal, deliveries, what is still to happen."""

from collections.abc import Iterable, Mapping
from typing import Any

from connector.simulator.accounts import Account
from connector.simulator.agenda import Agenda
from connector.simulator.callbacks import Deliveries
from connector.simulator.faults import Faults
from connector.simulator.journal import Journal
from connector.simulator.settings import Settings
from connector.simulator.store import Store
from connector.simulator.world import World


class State(World):
    """One simulated Twilio."""

    def __init__(self, *, seed: int | str | None, accounts: Iterable[Account], settings: Settings) -> None:
        super().__init__(seed=seed, accounts=accounts, settings=settings)
        self.journal = Journal()
        self.deliveries = Deliveries(self)
        self.agenda = Agenda()
        self.schedule = Agenda()  # messages to be sent on a day to come
        self.base_url = ""
        self._furnish()

    def reset(self, seed: int | str | None = None) -> None:
        """Forget everything and start from a seed (None: a random one)."""
        self.begin(seed)
        self.journal.clear()
        self.agenda.clear()
        self.schedule.clear()
        self.deliveries.clear()
        self._furnish()

    def _furnish(self) -> None:
        self.random = self.stream("choices")
        self.faults = Faults(self.stream("faults"))
        self.stores = {sid: Store(self, account) for sid, account in self.accounts.items()}

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
