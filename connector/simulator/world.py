"""What everything in the simulator refers to: seed and what is drawn from it, clock, settings, accounts."""

import secrets
import time
from collections.abc import Iterable
from random import Random

from connector.simulator.accounts import Account
from connector.simulator.settings import Settings

TIE_STEPS = 2**40


class World:
    """Equal seeds give equal SIDs and choices for equal requests."""

    def __init__(self, *, seed: int | str | None, accounts: Iterable[Account], settings: Settings) -> None:
        self._initial = (tuple(accounts) or (Account(),), settings)
        self.begin(seed)

    def begin(self, seed: int | str | None) -> None:
        """Start from a seed (None: a random one), with the accounts and settings that were given at first."""
        accounts, self.settings = self._initial
        self.seed: int | str = secrets.randbits(32) if seed is None else seed
        self.accounts = {account.sid: account for account in accounts}
        self._sids: dict[str, Random] = {}  # one generator a prefix: requests do not disturb the SIDs of messages
        self._created = 0

    def stream(self, name: str) -> Random:
        """Return a generator of its own for one purpose."""
        return Random(f"{self.seed}/{name}")  # noqa: S311 - reproducible choices are the point

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
