"""Secrets while the process runs: read again when a file changes, on SIGHUP, or because one has been refused."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

from connector.errors import ConfigurationError
from connector.kafka import credentials
from connector.settings import Connection, Loaded, Settings, reread_secrets, secret_files
from connector.telemetry.logs import logger
from connector.twilio.signature import Keys

log = logger(__name__)

# How often secrets are re-read because one is refused, and how long what the former ones signed may be on its way:
# Twilio gives a delivery up after 15 s.
REFRESH_SECONDS = 5.0
FORMER_SECONDS = 30.0
# How often the files of secrets are looked at, and how long a change must have been over: it may come in parts.
LOOK_SECONDS = 20.0
QUIET_SECONDS = 1.0

Apply = Callable[[Loaded, float], None]
"""Takes the renewed configuration, and for how many seconds the former keys are still good."""


def keys_of(connections: Mapping[str, Connection]) -> dict[str, Keys]:
    """What may have signed the callbacks of each account."""
    return {
        connection.account_sid: Keys.of(
            [token.get_secret_value() for token in connection.signing_tokens],
            {name: secret.get_secret_value() for name, secret in connection.shared_keys.items()},
        )
        for connection in connections.values()
    }


class Secrets:
    """The secrets of a configuration; `apply` hands renewed ones to what uses them."""

    def __init__(
        self, settings: Settings, loaded: Loaded | None, apply: Apply, *, look_seconds: float = LOOK_SECONDS
    ) -> None:
        self._look_seconds = look_seconds
        self._settings = settings
        self._loaded = loaded
        self._apply = apply
        self._refresh_at = 0.0

    def renew(self, *, former_seconds: float = 0.0) -> None:
        """Read the secrets again: credentials, signing keys. What cannot be read is logged, and the old ones stay.

        What the former keys signed is accepted for so long.
        """
        if self._loaded is None:
            return
        try:
            self._loaded = reread_secrets(self._loaded)
        except ConfigurationError as error:
            log.warning("secrets not renewed", problems=error.problems)
            return
        self._settings = self._loaded.settings
        try:
            credentials.renew(self._settings.kafka)
        except ConfigurationError as error:
            log.warning("certificate not renewed", problems=error.problems)
        self._apply(self._loaded, former_seconds)
        log.info("secrets renewed", connections=len(self._settings.connections))

    async def watch(self) -> None:
        """Renew the secrets when a file of theirs changes, until cancelled: a mounted Secret sends no signal."""
        files = secret_files(self._loaded) if self._loaded else ()
        async for _ in changes(files, look_seconds=self._look_seconds):
            self.renew(former_seconds=FORMER_SECONDS)

    def refresh(self) -> bool:
        """Read the secrets again because one has been refused, every few seconds at the most; whether any has changed.

        Twilio switches to a promoted token at once, and the file that holds it may change before a SIGHUP comes.
        """
        if self._loaded is None or time.monotonic() < self._refresh_at:
            return False
        self._refresh_at = time.monotonic() + REFRESH_SECONDS
        with contextlib.suppress(ConfigurationError):
            if reread_secrets(self._loaded).settings != self._settings:
                self.renew(former_seconds=FORMER_SECONDS)
                return True
        return False

    def refresh_kafka(self) -> None:
        """Read password and certificate again because Kafka does not answer: it may know us by others now."""
        if not self.refresh():
            with contextlib.suppress(ConfigurationError):
                credentials.renew(self._settings.kafka)


async def changes(
    files: Sequence[Path], *, look_seconds: float = LOOK_SECONDS, quiet_seconds: float = QUIET_SECONDS
) -> AsyncIterator[None]:
    """Yield after each change of these files, once it is over. A file that is replaced or a link that moves counts."""
    known = _states(files)
    while True:
        await asyncio.sleep(look_seconds)
        found = await asyncio.to_thread(_states, files)
        if found == known:
            continue
        await asyncio.sleep(quiet_seconds)
        if await asyncio.to_thread(_states, files) == found:
            known = found
            yield


def _states(files: Sequence[Path]) -> list[tuple[int, int, int] | None]:
    """What tells one content of a file from another, without reading it; None for a file that is not there."""
    return [_state(file) for file in files]


def _state(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
