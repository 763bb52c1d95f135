"""A whole run with content that can be recognised, and then a search for it wherever people look without asking."""

import asyncio
import itertools
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import aiohttp
import pytest
from yarl import URL

from connector.simulator import ACCOUNT_SID, Account, ApiKey, Simulator
from connector.twilio.signature import compute
from tests.forked import completed
from tests.producing import Message, produce
from tests.running import Connector, configuration, read_all, running, values
from tests.span_collector import Collector

BODY = "quixotic-zeppelin"
"""Every text that somebody writes or says begins so."""
SENDER, CUSTOMER, NOBODY = "+15550107731", "+15550107742", "+15005550001"
TOKEN, FORMER_TOKEN = "7e57ab1e" * 4, "0ddba11c" * 4
KEY = ApiKey(sid="SK" + "7" * 32, secret="hazelnut-secret-of-the-key")
SHARED, ADMIN, PASSWORD = "walnut-shared-secret", "cashew-token-of-the-console", "pistachio-password"
REFUSED_SID = "SM" + "e" * 32

NUMBERS = [number.removeprefix("+") for number in (SENDER, CUSTOMER, NOBODY)]
SECRETS = [TOKEN, FORMER_TOKEN, KEY.secret, SHARED, ADMIN, PASSWORD]


@dataclass
class Run:
    """Where content goes in, and what has been read where people look."""

    kafka: str
    prefix: str
    process: Connector
    session: aiohttp.ClientSession
    signatures: list[str] = field(default_factory=list)
    seen: dict[str, str] = field(default_factory=dict)
    ids: Iterator[int] = field(default_factory=itertools.count)

    def leaks(self) -> dict[str, list[str]]:
        """Each place and what was found in it that must not be there, with what is around it."""
        wanted = [BODY, *NUMBERS, *SECRETS, *self.signatures]
        forms = {form for text in wanted for form in (text, quote(text, safe=""), quote_plus(text))}
        found: dict[str, list[str]] = {}
        for place, text in self.seen.items():
            for form in forms:
                if (at := text.find(form)) >= 0:
                    found.setdefault(place, []).append(text[max(0, at - 150) : at + 60])
        return found


def message(**more: Any) -> dict[str, Any]:
    return {"to": CUSTOMER, "from": SENDER, "body": f"{BODY} text", **more}


def call(**more: Any) -> dict[str, Any]:
    return {"to": CUSTOMER, "from": SENDER, "twiml": f"<Response><Say>{BODY} said</Say></Response>", **more}


SENT = [
    ("send-message", message(), "succeeded"),
    ("place-call", call(), "succeeded"),
    ("list", {"resource": "messages", "to": CUSTOMER}, "succeeded"),
    ("update", {"resource": "message", "sid": REFUSED_SID, "body": ""}, "failed"),
    ("send-message", message(to=NOBODY), "failed"),
    ("send-message", message(**{"from": NOBODY}), "failed"),
    (
        "call-api",
        {
            "url": f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages/{BODY}.json",
            "query": {"To": CUSTOMER},
            "strict": False,
        },
        "failed",
    ),
    (
        "call-api",
        {"url": "/2010-04-01/Accounts.json", "method": "POST", "body": {"Body": BODY}, "strict": False},
        "failed",
    ),
    ("get", {"resource": "message", "sid": REFUSED_SID}, "failed"),
]
"""Commands that reach Twilio, and their outcomes."""
INVALID: list[tuple[str, Any]] = [
    ("send-message", message(boddy=BODY)),
    ("send-message", {**message(), f"{BODY} text": CUSTOMER}),
    ("send-message", {**message(), CUSTOMER: BODY}),
    ("send-message", message(validity_period=BODY)),
    ("send-message", message(max_price=f"{BODY} {CUSTOMER}")),
    ("send-message", message(send_at=BODY)),
    ("send-message", message(media_url=[f"{BODY} {CUSTOMER}"])),
    ("send-message", message(status_callback=f"https://{BODY}:{PASSWORD}@[{CUSTOMER}")),
    ("send-message", message(content_variables=BODY)),
    ("send-message", message(schedule_type=f"{BODY} text")),
    ("send-message", message(to=[CUSTOMER])),
    ("send-message", message(to={"number": CUSTOMER})),
    ("send-message", message(body=BODY * 200)),
    ("send-message", {"body": BODY}),
    ("send-message", f"{BODY} {CUSTOMER}".encode()),
    ("send-message", b"\xff" + BODY.encode()),
    ("send-message", [BODY, CUSTOMER]),
    ("send-message", BODY),
    ("place-call", call(url=f"https://example.com/{CUSTOMER}?text={BODY}")),
    ("place-call", call(send_digits=BODY)),
    ("place-call", call(method=f"{BODY} said")),
    ("place-call", call(timeout=CUSTOMER)),
    ("buy-phone-number", {"phone_number": [CUSTOMER], "friendly_name": {f"{BODY} text": CUSTOMER}}),
    ("get", {"resource": f"{BODY} text", "sid": REFUSED_SID}),
    ("get", {"resource": "message", "sid": CUSTOMER}),
    ("delete", {"resource": "message", "sid": BODY}),
    ("list", {"resource": "messages", "limit": CUSTOMER, "date_sent": BODY}),
    ("download-recording", {"sid": BODY, "format": CUSTOMER}),
    ("call-api", {"url": f"https://example.com/{quote(CUSTOMER)}?text={BODY}"}),
    ("call-api", {"url": "/2010-04-01/x", "headers": {"Authorization": PASSWORD}}),
    ("call-api", {"url": "/2010-04-01/x", "headers": {f"{BODY}\n": CUSTOMER}}),
    ("call-api", {"url": "/2010-04-01/x", "method": f"{BODY} text"}),
    ("call-api", {"url": f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages/{BODY}.json"}),
    ("call-api", {"url": f"/2010-04-01/{BODY}?To={quote(CUSTOMER)}"}),
    ("call-api", {"url": f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json", "query": {"DateSent": CUSTOMER}}),
    ("call-api", {"url": "/2010-04-01/Accounts.json", "method": "POST", "body": {f"{BODY} text": CUSTOMER}}),
    ("call-api", {"url": "/2010-04-01/Accounts.json", "method": "POST", "body": f"{BODY} text={CUSTOMER}"}),
]
"""Commands that are rejected, each of them for the content of some field."""


def _message(run: Run, name: str, value: Any) -> Message:
    return Message(f"{run.prefix}.commands.{name}", value, CUSTOMER, {"id": f"c-{next(run.ids)}"})


async def executed(run: Run, commands: Sequence[tuple[str, Any]]) -> list[str]:
    """Send commands, and wait for all of their results; the outcomes in the order of the commands."""
    before = {name: len(await finals(run, name)) for name, _ in commands}
    await asyncio.to_thread(produce, run.kafka, [_message(run, *command) for command in commands])
    found: dict[str, Iterator[str]] = {}
    for name, old in before.items():
        count = old + sum(other == name for other, _ in commands)
        async with asyncio.timeout(60):
            while len(results := await finals(run, name)) < count:  # noqa: ASYNC110 - Kafka
                await asyncio.sleep(0.2)
        found[name] = iter(results[old:])
    return [next(found[name]) for name, _ in commands]


async def finals(run: Run, name: str) -> list[str]:
    """The outcomes of a command; those of one key are in one partition, in their order."""
    records = await read_all(run.kafka, f"{run.prefix}.results.{name}")
    return [str(value["outcome"]) for value in values(records) if value["last"]]


# --- callbacks --------------------------------------------------------------------------------------------------------
FORM = {"MessageSid": "SM" + "a" * 32, "MessageStatus": "sent", "From": SENDER, "To": CUSTOMER, "Body": f"{BODY} came"}


@dataclass(frozen=True)
class Call:
    """A callback as it comes in. `signed_by` None leaves the signature out."""

    kind: str
    answer: int
    form: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    method: str = "POST"
    query: str = ""
    content_type: str = "application/x-www-form-urlencoded"
    signed_by: str | None = TOKEN


CALLS = [
    Call("message-status", 204, FORM),
    Call("inbound-message", 200, FORM),
    Call("message-status", 204, FORM, method="GET"),
    Call("message-status", 403, FORM, signed_by="another-token"),
    Call("message-status", 403, FORM, signed_by=None),
    Call("message-status", 403, FORM, method="GET", signed_by="another-token"),
    Call("message-status", 403, {**FORM, "AccountSid": BODY}),
    Call("message-status", 403, {**FORM, "AccountSid": CUSTOMER}),
    Call("message-status", 400, {"Body": BODY, "To": CUSTOMER}),
    Call("message-status", 400, {**FORM, "MessageSid": "", "ErrorCode": f"{BODY} {CUSTOMER}"}),
    Call("message-status", 400, {"Body": BODY, "To": CUSTOMER}, method="GET"),
    Call("call-status", 400, {**FORM, "CallSid": BODY, "CallDuration": CUSTOMER, "Timestamp": BODY}),
    Call("recording-status", 400, {**FORM, "RecordingDuration": BODY}),
    Call("message-status", 400, body=b"\xff" + BODY.encode()),
    Call("message-status", 413, {"Body": BODY * 5000}),
    Call("message-status", 415, body=BODY.encode(), content_type="text/plain"),
    Call(
        "events", 403, body=json.dumps([{"data": BODY}]).encode(), query="bodySHA256=0", content_type="application/json"
    ),
    Call("events", 415, body=json.dumps([{"data": BODY}]).encode(), content_type="application/json"),
    Call(f"{BODY}/{CUSTOMER}", 404, FORM),
]


async def call_back(run: Run, made: Call) -> int:
    """Deliver it; what is answered belongs to what people may see."""
    form = {"AccountSid": ACCOUNT_SID, **made.form} if made.body is None else {}
    query = urlencode(form) if made.method == "GET" else made.query
    url = f"{run.process.callbacks}/callbacks/{made.kind}{'?' if query else ''}{query}"
    headers = {"Content-Type": made.content_type}
    if made.signed_by is not None:
        pairs = form.items() if made.method == "POST" and made.body is None else ()
        headers["X-Twilio-Signature"] = compute(url, pairs, made.signed_by)
        run.signatures.append(headers["X-Twilio-Signature"])
    body = None if made.method == "GET" else made.body or urlencode(form).encode()
    target = URL(url, encoded=True)
    async with run.session.request(made.method, target, data=body, headers=headers) as answer:
        run.seen[f"answer to {made.kind} {answer.status} {len(run.seen)}"] = f"{answer.headers} {await answer.text()}"
        return answer.status


# --- where people look ------------------------------------------------------------------------------------------------
PAGES = ("", "app.js", "livez", "readyz", "metrics", "version", "nothing")
LISTS = ("overview", "settings", "commands", "callbacks", "dead-letters", "watches", "schemas")
PRINTED = (
    ("config", "show"),
    ("config", "show", "--format", "json"),
    ("config", "check"),
    ("config", "explain", "connections"),
    ("doctor",),
    ("doctor", "--format", "json"),
    ("topics", "list", "--acls"),
    ("watches", "list"),
    ("dead-letters", "list"),
    ("dead-letters", "list", "--format", "json"),
    ("tail", "--no-follow"),
)


async def look(run: Run) -> None:
    """Open every page and list of the console, and what its rows lead to, without asking for content."""
    for page in PAGES:
        await read(run, f"/{page}")
    found = {name: await read(run, f"/api/{name}") for name in LISTS}
    for row in found["commands"]["commands"]:
        await read(run, f"/api/timelines/{quote(row['link'], safe='')}")
    for row in found["callbacks"]["callbacks"]:
        if row["number"] is not None:
            await read(run, f"/api/callbacks/{row['number']}")
    for row in found["dead-letters"]["letters"]:
        await read(run, f"/api/dead-letters/{row['partition']}/{row['offset']}")
    assert len(found["commands"]["commands"]) > len(SENT)
    assert len(found["callbacks"]["callbacks"]) > len(CALLS)
    assert len(found["dead-letters"]["letters"]) >= len(INVALID)


async def read(run: Run, path: str) -> Any:
    url = URL(run.process.admin + path, encoded=True)
    async with run.session.get(url, headers={"Authorization": f"Bearer {ADMIN}"}) as answer:
        run.seen[f"GET {path}"] = text = f"{answer.headers} {await answer.text()}"
        assert answer.status < 500, text
        return await answer.json() if answer.content_type == "application/json" else None


async def stream(run: Run) -> None:
    """The first seconds of the console's live feed."""
    url = f"{run.process.admin}/api/stream"
    async with run.session.get(url, headers={"Authorization": f"Bearer {ADMIN}"}) as answer:
        run.seen["stream"] = "".join([(await answer.content.readline()).decode() for _ in range(12)])


async def printed(run: Run, *arguments: str) -> None:
    """What a command prints on both streams."""
    file = run.process.folder / f"{run.process.name}.yaml"
    done = await asyncio.to_thread(completed, *arguments, "-c", str(file), env={**os.environ, "NO_COLOR": "1"})
    run.seen[" ".join(arguments)] = text = done.stdout + done.stderr
    assert "Traceback" not in text, text
    assert text


async def letters(run: Run) -> None:
    """What the headers of dead letters say beside the original ones."""
    for number, record in enumerate(await read_all(run.kafka, f"{run.prefix}.dead-letters")):
        reasons = {name: raw.decode() for name, raw in record.headers if name.startswith("dlq.errors.")}
        run.seen[f"dead letter {number}"] = str(reasons)


def document(simulator: Simulator, kafka: str, prefix: str) -> dict[str, Any]:
    """All roles, every kind of secret, and a log that says everything."""
    made = configuration(
        simulator,
        kafka=kafka,
        prefix=prefix,
        admin={"token": ADMIN},
        log={"level": "debug"},
        watches=[
            {"resource": "messages", "interval": "300ms", "emit": "changes"},
            {"resource": "calls", "interval": "300ms"},
        ],
        commands={"settle_time": "1s", "request_timeout": "2s"},
    )
    made["connections"]["default"] |= {
        "api_key": KEY.sid,
        "api_secret": KEY.secret,
        "additional_auth_tokens": [FORMER_TOKEN],
        "shared_keys": {"k1": SHARED},
    }
    return made


@asynccontextmanager
async def whole_run(kafka: str, prefix: str, folder: Path, environment: Mapping[str, str]) -> AsyncIterator[Run]:
    """A process that everything has happened to."""
    account = Account(auth_token=TOKEN, phone_numbers=(SENDER,), api_keys=(KEY,))
    async with Simulator(seed=1, accounts=[account]) as simulator:
        settings = document(simulator, kafka, prefix)
        async with running(settings, folder, environment=environment) as (process,), aiohttp.ClientSession() as session:
            run = Run(kafka, prefix, process, session)
            await read(run, "/api/overview")
            await process.wait_for_log("watch starts anew")
            assert await executed(run, [(name, value) for name, value, _ in SENT]) == [row[2] for row in SENT]
            assert await executed(run, INVALID) == ["rejected"] * len(INVALID)
            await in_doubt(run, simulator)
            simulator.receive(from_=CUSTOMER, to=SENDER, body=BODY)
            assert [await call_back(run, made) for made in CALLS] == [made.answer for made in CALLS]
            await refused_credentials(run, simulator)
            await simulator.settle()
            run.signatures += signatures(simulator)
            yield run
            assert await process.stop() == 0
            run.seen["log"] = process.log


async def in_doubt(run: Run, simulator: Simulator) -> None:
    """Answers that are lost, and errors of Twilio's side."""
    simulator.fault("lose-answer", "CreateMessage", times=1)
    simulator.fault("error", "CreateCall", status=503, html=True, times=1)
    simulator.fault("error-after", "CreateMessage", status=500, skip=1, times=1)
    doubtful = [("send-message", message()), ("send-message", message(body=f"{BODY} again")), ("place-call", call())]
    assert await executed(run, doubtful) == ["succeeded", "succeeded", "unknown"]


async def refused_credentials(run: Run, simulator: Simulator) -> None:
    """Twilio says 401 for a while."""
    simulator.fault("unauthorized")
    await run.process.wait_for_log("credentials refused")
    simulator.faults.clear("unauthorized")
    await run.process.wait_for_log("credentials accepted again")


def signatures(simulator: Simulator) -> list[str]:
    """Those of the callbacks that the simulator delivered."""
    return [compute(row.url, row.parameters, TOKEN) for row in simulator.deliveries.rows if row.method == "POST"]


UNEXPECTED = f"""
import asyncio, logging
from connector.telemetry.logs import configure_logging, logger, unhandled

configure_logging(level="debug", style={{style!r}})

def fail():
    try:
        int("{BODY}")
    except ValueError as error:
        raise KeyError("{CUSTOMER}") from error

async def forget():
    asyncio.get_running_loop().set_exception_handler(unhandled)
    task = asyncio.create_task(asyncio.to_thread(fail), name="forgotten")
    await asyncio.wait({{{{task}}}})

try:
    fail()
except KeyError:
    logger("ours").exception("failed")
    logging.getLogger("theirs").exception("failed as well")
asyncio.run(forget())
"""


@pytest.mark.parametrize("style", ["json", "console"])
def test_what_unexpected_errors_say_stays_out_of_the_log_and_where_they_arose_does_not(style: str) -> None:
    command = [sys.executable, "-c", UNEXPECTED.format(style=style)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)  # noqa: S603 - our own
    assert done.stderr.count("KeyError") == done.stderr.count("ValueError") == 3
    assert "failed as well" in done.stderr
    assert "forgotten" in done.stderr
    assert "in fail" in done.stderr
    assert BODY not in done.stderr
    assert CUSTOMER not in done.stderr


async def test_content_numbers_and_secrets_are_only_where_they_belong(
    kafka: str, prefix: str, tmp_path: Path, collector: Collector
) -> None:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    async with whole_run(kafka, prefix, tmp_path, environment) as run:
        await stream(run)
        await look(run)
        for arguments in PRINTED:
            await printed(run, *arguments)
        await letters(run)
    run.seen["spans"] = collector.raw.decode(errors="replace")
    assert len(collector.spans) > len(SENT)
    assert run.leaks() == {}
