"""The simulator on a thread and an event loop of its own, for tests that are not asynchronous, or not only."""

import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from connector.simulator.accounts import PHONE_NUMBER
from connector.simulator.callbacks import Delivery
from connector.simulator.faults import Fault
from connector.simulator.journal import Entry
from connector.simulator.rows import Message
from connector.simulator.simulator import SETTLE_SECONDS, Simulator

Result = TypeVar("Result")


class BackgroundSimulator:
    """A running simulator that plain functions steer; every method is safe from any thread.

    `simulator` is the object itself, for what is not offered here: call it through `do`.
    """

    phone_number = PHONE_NUMBER

    def __init__(self, *, seed: int | str | None = None, port: int = 0) -> None:
        self.simulator = Simulator(seed=seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="twilio-simulator", daemon=True)
        self._thread.start()
        self.url = asyncio.run_coroutine_threadsafe(self.simulator.start(port=port), self._loop).result(timeout=30)

    def stop(self) -> None:
        """Close the port and end the thread."""
        asyncio.run_coroutine_threadsafe(self.simulator.stop(), self._loop).result(timeout=30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=30)
        self._loop.close()

    def do(self, action: Callable[[Simulator], Result]) -> Result:
        """Run something where the simulator runs."""

        async def run() -> Result:
            return action(self.simulator)

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(timeout=30)

    @property
    def account_sid(self) -> str:
        """The SID of the account."""
        return self.simulator.account_sid

    @property
    def auth_token(self) -> str:
        """The token of the account; it signs the callbacks too."""
        return self.simulator.auth_token

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables that point `twilio-kafka run` at this simulator."""
        return {
            "TWILIO_ACCOUNT_SID": self.account_sid,
            "TWILIO_AUTH_TOKEN": self.auth_token,
            "CONNECTOR_CONNECTIONS__DEFAULT__API_URL": self.url,
            "CONNECTOR_CONNECTIONS__DEFAULT__MONITOR_URL": self.url,
        }

    def client(self) -> Any:
        """The official SDK's client (`pip install twilio`), pointed at this simulator."""
        from twilio.http.http_client import TwilioHttpClient  # noqa: PLC0415 - only who uses the SDK has it
        from twilio.rest import Client  # noqa: PLC0415 - the same

        url = self.url

        class Redirected(TwilioHttpClient):  # type: ignore[misc]  # the SDK has no types
            def request(self, method: str, target: str, *args: Any, **options: Any) -> Any:
                """Send to the simulator what is meant for any of Twilio's hosts."""
                return super().request(method, f"{url}/{target.split('/', 3)[3]}", *args, **options)

        return Client(self.account_sid, self.auth_token, http_client=Redirected())

    def reset(self, seed: int | str | None = None) -> None:
        """Forget rows, requests, deliveries, faults and changed settings."""
        self.do(lambda simulator: simulator.reset(seed))

    def configure(self, **changes: Any) -> None:
        """Change settings; see `settings.Settings`."""
        self.do(lambda simulator: simulator.configure(**changes))

    def fault(self, kind: str, operation: str = "*", **options: Any) -> Fault:
        """Set a fault; see `faults` for kinds and options."""
        return self.do(lambda simulator: simulator.fault(kind, operation, **options))

    def fill(self, resource: str, **options: Any) -> list[str]:
        """Create rows in bulk; see `bulk.fill`. Returns their SIDs, oldest first."""
        return self.do(lambda simulator: simulator.fill(resource, **options))

    def receive(self, *, from_: str, to: str = PHONE_NUMBER, **options: Any) -> Message:
        """Let a message arrive; `body`, `media`, and `url` of the webhook."""
        return self.do(lambda simulator: simulator.receive(from_=from_, to=to, **options))

    def set_status(self, sid: str, status: str, *, error_code: int | None = None) -> None:
        """Move a message, call, recording or transcription to a status, with its callbacks."""
        self.do(lambda simulator: simulator.set_status(sid, status, error_code=error_code))

    def requests(self, operation: str = "") -> list[Entry]:
        """What was asked, oldest first; of one operation such as CreateMessage, or of all."""
        return self.do(lambda simulator: [row for row in simulator.journal if operation in ("", row.operation)])

    def webhooks(self, kind: str = "") -> list[Delivery]:
        """What was called back, oldest first; of one kind such as message-status, or of all."""
        return self.do(lambda simulator: [row for row in simulator.deliveries.rows if kind in ("", row.kind)])

    def settle(self, within: float = SETTLE_SECONDS) -> None:
        """Wait until no life cycle step and no delivery is left; raises TimeoutError after `within` seconds.

        In an asynchronous test that answers the webhooks itself: `await asyncio.to_thread(simulator.settle)`.
        """
        waiting = asyncio.run_coroutine_threadsafe(self.simulator.settle(within), self._loop)
        waiting.result(timeout=within + 5)
