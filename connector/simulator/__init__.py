"""A stand-in for Twilio that ships with the connector: its REST API, its life cycles, its webhooks, its nasty parts.

    simulator = Simulator(seed=1, settings={"granularity": "day"})
    url = await simulator.start()            # http://127.0.0.1:<free port>; api_url and monitor_url of a connection
    simulator.fault("lose-answer", "CreateMessage", probability=0.1)
    simulator.fill("messages", count=100_000, step=0.1)
    simulator.receive(from_="+15550100002", to=PHONE_NUMBER, body="hello", url="https://…/callbacks/inbound-message")
    await simulator.settle()                 # every life cycle and every webhook is through
    simulator.journal.of("CreateMessage")    # what was asked, executed, answered
    await simulator.stop()

`twilio-kafka simulator` runs one; other processes and people steer it through `/_sim/` (see `control`); test suites of
other programs get it as the pytest fixture `twilio_simulator` (see `pytest_plugin`, `background`). The same seed and
the same requests give the same SIDs and choices. Nothing is authenticated under `/_sim/`: bind it to loopback. It
behaves as Twilio documents, where Twilio is silent as harshly as is plausible: no idempotency, day or second
granularity, rows that move, appear late or vanish while paging, prices that come late, webhooks that are lost, doubled
or out of order.

Map, from the outside in:
    pytest_plugin background    a fixture for anybody's tests, on a thread of its own
    simulator       the object for tests and demos, `run` for the command line
    server          one request: journal, load, credentials, faults, operation, answer
    dispatch answers routes resources    paths to operations; replies to bytes; the rows that say who answers what
    authentication accounts              credentials, subaccounts, API keys, test credentials
    control control_page bulk inbound progress   steering: `/_sim/` for programs and people, rows in bulk, arriving
                                         messages, statuses by hand
    faults journal settings              what goes wrong, what happened, what can be tuned
    state store collection rows agenda   what is remembered, sorted; what happens later
    paging filters form times addresses magic xml errors    the API's common rules
    callbacks events debugger            signed webhooks with Twilio's delivery policy; Event Streams; alerts
    messages message_rules message_life media
    calls call_rules call_life
    recordings recording_life audio redirects transcriptions transcription_life
    alerts notifications phone_numbers applications administration
It imports nothing of the connector but the signature, so that it cannot share the client's mistakes.
"""

from typing import TYPE_CHECKING, Any

from connector.simulator.accounts import (
    ACCOUNT_SID,
    API_KEY,
    API_SECRET,
    AUTH_TOKEN,
    MESSAGING_SERVICE_SID,
    OTHER_PHONE_NUMBER,
    PHONE_NUMBER,
    Account,
    ApiKey,
    MessagingService,
)
from connector.simulator.settings import Settings

if TYPE_CHECKING:
    from connector.simulator.simulator import Simulator, run

__all__ = [
    "ACCOUNT_SID",
    "API_KEY",
    "API_SECRET",
    "AUTH_TOKEN",
    "MESSAGING_SERVICE_SID",
    "OTHER_PHONE_NUMBER",
    "PHONE_NUMBER",
    "Account",
    "ApiKey",
    "MessagingService",
    "Settings",
    "Simulator",
    "run",
]


def __getattr__(name: str) -> Any:
    """The server when it is asked for: pytest imports this package in every project that has the plug-in."""
    if name in ("Simulator", "run"):
        from connector.simulator import simulator  # noqa: PLC0415 - a fifth of a second

        return getattr(simulator, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
