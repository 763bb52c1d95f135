"""`twilio-kafka trigger`: something happens at the simulated Twilio, for trying out what follows."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from connector.cli.options import Commands, examples, run_async, unknown
from connector.cli.output import say

if TYPE_CHECKING:
    import aiohttp

app = Commands()

PERSON, NUMBER, UNREACHABLE = "+15557654321", "+15551234567", "+15550109999"


@app.command(
    epilog=examples(
        "twilio-kafka trigger inbound-message",
        "twilio-kafka trigger failed-message",
        "twilio-kafka trigger call --simulator http://127.0.0.1:8090",
    )
)
def trigger(
    event: Annotated[
        str,
        typer.Argument(
            metavar="EVENT",
            help="inbound-message, delivered-message, failed-message, call or alert.",
            autocompletion=lambda incomplete: [name for name in EVENTS if name.startswith(incomplete)],
        ),
    ],
    simulator: Annotated[
        str, typer.Option(metavar="URL", help="The simulator, as `dev` and `simulator` print it.")
    ] = "http://127.0.0.1:8090",
) -> None:
    """Let something happen at the simulated Twilio: a message that comes in, one that fails, a call, an alert.

    Its callbacks go where those of inbound messages go; `dev` has told the simulator where that is.
    """
    if event not in EVENTS:
        raise unknown(event, "event", EVENTS)
    say(run_async(happen(event, simulator.rstrip("/"))))


async def happen(event: str, url: str) -> str:
    """Let it happen at the simulator of this address; returns a sentence. Raises Unavailable."""
    import aiohttp

    from connector.errors import Unavailable

    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
            return await EVENTS[event](Twilio(session, url))
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Unavailable(
            f"{url} does not answer as a simulator ({type(error).__name__}): "
            "start one with `twilio-kafka dev` or `twilio-kafka simulator`, or name it with --simulator URL."
        ) from error


class Twilio:
    """The simulator: its control routes, and Twilio's API with the account that it has from the start."""

    def __init__(self, session: "aiohttp.ClientSession", url: str) -> None:
        self._session = session
        self._url = url

    async def control(self, path: str, value: Mapping[str, Any] | None = None) -> Any:
        """Ask a control route, or tell it something."""
        method = "GET" if value is None else "POST"
        async with self._session.request(method, f"{self._url}/_sim/{path}", json=value) as answer:
            answer.raise_for_status()
            return await answer.json()

    async def create(self, resource: str, form: Mapping[str, str]) -> str:
        """Create something through Twilio's API; returns its SID."""
        import aiohttp

        from connector.simulator import ACCOUNT_SID, AUTH_TOKEN

        url = f"{self._url}/2010-04-01/Accounts/{ACCOUNT_SID}/{resource}.json"
        callbacks = await self.callbacks(resource)
        headers = {"Authorization": aiohttp.encode_basic_auth(ACCOUNT_SID, AUTH_TOKEN)}
        async with self._session.post(url, data={**callbacks, **form}, headers=headers) as answer:
            answer.raise_for_status()
            return str((await answer.json())["sid"])

    async def callbacks(self, resource: str) -> Mapping[str, str]:
        """Where status callbacks go: beside inbound messages, if the simulator knows where those go."""
        inbound = str((await self.control("settings"))["inbound_url"])
        kind = "message-status" if resource == "Messages" else "call-status"
        return {"StatusCallback": inbound.replace("inbound-message", kind)} if inbound else {}


async def _inbound_message(twilio: Twilio) -> str:
    found = await twilio.control("inbound", {"from": PERSON, "to": NUMBER, "body": "Is my order ready?"})
    return f"{found['sid']} has come in."


async def _delivered_message(twilio: Twilio) -> str:
    sid = await twilio.create("Messages", {"To": PERSON, "From": NUMBER, "Body": "Your order is ready."})
    return f"{sid} is on its way; it will be delivered."


async def _failed_message(twilio: Twilio) -> str:
    outcomes = (await twilio.control("settings"))["outcome_by_number"]
    await twilio.control("settings", {"outcome_by_number": {**outcomes, UNREACHABLE: "undelivered"}})
    sid = await twilio.create("Messages", {"To": UNREACHABLE, "From": NUMBER, "Body": "This will not arrive."})
    return f"{sid} is on its way; it will be undelivered, and an alert follows."


async def _call(twilio: Twilio) -> str:
    sid = await twilio.create("Calls", {"To": PERSON, "From": NUMBER, "Twiml": "<Response><Say>Hello</Say></Response>"})
    return f"{sid} is being placed; it will be answered."


async def _alert(twilio: Twilio) -> str:
    (sid,) = (await twilio.control("rows/alerts", {"count": 1, "error_code": "11200"}))["sids"]
    return f"{sid}, error 11200, is among the alerts."


EVENTS: Mapping[str, Callable[[Twilio], Awaitable[str]]] = {
    "inbound-message": _inbound_message,
    "delivered-message": _delivered_message,
    "failed-message": _failed_message,
    "call": _call,
    "alert": _alert,
}
