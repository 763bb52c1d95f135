"""Whether everything that the connector stands on is as it must be: broker, topics, rights, Twilio, clocks, the URL.

Nothing is left behind: rights are asked for and not tried, and the signed callback is a batch of no events, whose
signature the receiver checks (204, or 403) and of which it stores nothing.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import aiohttp

from connector.errors import BadCredentials, NotExecuted, TwilioError, Unavailable
from connector.kafka import diagnosis, rights, topics
from connector.kafka.rights import Acl
from connector.kafka.topics import Topic
from connector.resources.rows import ACCOUNT, Request
from connector.settings import Connection, Settings
from connector.twilio.client import TwilioClient
from connector.twilio.connecting import open_session
from connector.twilio.delivery import Delivered, deliver_events

State = Literal["ok", "warning", "failed", "skipped"]

SKEW_WARNING_SECONDS = 5.0
SKEW_FAILED_SECONDS = 60.0
PATIENCE_SECONDS = 5.0
ACCEPTED = (204, "")
NO_EVENTS = b"[]"
FORBIDDEN = 403


@dataclass(frozen=True, slots=True)
class Check:
    """One finding: what was looked at, how it is, in one sentence, and what to do about it."""

    name: str
    state: State
    sentence: str
    remedy: str = ""


async def examine(
    settings: Settings, wanted: Sequence[Topic], needed: Sequence[Acl], *, offline: bool = False
) -> AsyncIterator[Check]:
    """Every check, as soon as it is done; `offline` leaves out what goes to Twilio and to the public address."""
    async for check in _kafka(settings, wanted, needed):
        yield check
    if offline:
        for name in ("twilio", "clock", "callbacks"):
            yield Check(name, "skipped", "Left out by --offline.")
        return
    async with open_session() as session:
        for name, connection in settings.connections.items():
            async for check in _twilio(name, connection, session):
                yield check
            yield await _callback(settings, name, connection, session)
        if not settings.connections:
            yield Check("twilio", "failed", "No connection is configured.", "Set TWILIO_ACCOUNT_SID and a secret.")


# --- Kafka ------------------------------------------------------------------------------------------------------------
async def _kafka(settings: Settings, wanted: Sequence[Topic], needed: Sequence[Acl]) -> AsyncIterator[Check]:
    kafka = settings.kafka
    try:
        count, cluster = await diagnosis.brokers(kafka)
    except Unavailable as error:
        cause = await diagnosis.cause(kafka)
        sentence = str(cause or f"{kafka.bootstrap_servers} does not answer. {error}")
        yield Check("broker", "failed", sentence, "Start it, or correct kafka.bootstrap_servers and its security.")
        for name in ("topics", "rights"):
            yield Check(name, "skipped", "No broker answers.")
        return
    plural = "" if count == 1 else "s"
    yield Check("broker", "ok", f"{kafka.bootstrap_servers}: {count} broker{plural}, cluster {cluster or 'unnamed'}.")
    try:
        problems = await topics.check(kafka, wanted)
    except Unavailable as error:
        problems = [str(error)]
    for sentence in problems:
        yield Check("topics", "failed", sentence, "twilio-kafka topics apply")
    if problems:
        yield Check("rights", "skipped", "The topics have to be right first.")
        return
    yield Check("topics", "ok", f"{len(wanted)} topics are as they should be.")
    for sentence in await topics.durability(kafka, wanted):
        yield Check("durability", "warning", sentence, "Set min.insync.replicas to 2, with three replicas.")
    async for check in _rights(settings, needed):
        yield check


async def _rights(settings: Settings, needed: Sequence[Acl]) -> AsyncIterator[Check]:
    """What the broker says that it allows; nothing is tried."""
    denied = await rights.missing(settings.kafka, needed)
    states: Sequence[tuple[bool, State]] = ((True, "failed"), (False, "warning"))
    for acl_kind, state in states:
        for sentence in rights.sentences([acl for acl in denied if acl.is_vital is acl_kind]):
            yield Check("rights", state, sentence, "twilio-kafka topics list --acls")
    if not any(acl.is_vital for acl in denied):
        yield Check("rights", "ok", "Everything that the roles need is allowed.")


# --- Twilio -----------------------------------------------------------------------------------------------------------
async def _twilio(name: str, connection: Connection, session: aiohttp.ClientSession) -> AsyncIterator[Check]:
    """One authenticated GET, which also tells Twilio's time."""
    client = TwilioClient(
        name=name,
        account_sid=connection.account_sid,
        auth=connection.auth,
        bases=connection.bases,
        session=session,
    )
    request = Request("GET", f"{ACCOUNT}/Messages.json", query=(("PageSize", "1"),), operation="ListMessage")
    label = f"twilio ({name})"
    try:
        answer = await client.request(request, patience_seconds=PATIENCE_SECONDS)
    except TwilioError as error:
        yield _refused(label, connection, error)
        return
    yield Check(label, "ok", f"{connection.bases['api']} accepts the credentials of {connection.account_sid}.")
    if answer.date is not None:
        yield _skew(name, (datetime.now(UTC) - answer.date).total_seconds())


def _refused(label: str, connection: Connection, error: TwilioError) -> Check:
    match error:
        case BadCredentials():
            sentence = f"{connection.bases['api']} refuses the credentials of {connection.account_sid} ({error.label})."
            remedy = "Compare account_sid with auth_token, or api_key with api_secret, in Twilio's console."
        case NotExecuted() if not error.status:
            sentence = f"{connection.bases['api']} cannot be reached: {error}"
            remedy = "Look at DNS, the proxy, firewalls, and the region and edge of the connection."
        case _:
            sentence = f"{connection.bases['api']} answers {error.label}."
            remedy = "Look at status.twilio.com, and try again."
    return Check(label, "failed", sentence, remedy)


def _skew(name: str, seconds: float) -> Check:
    """Twilio's Date has whole seconds, so that a second of difference means nothing."""
    size = abs(seconds)
    state: State = "failed" if size > SKEW_FAILED_SECONDS else "warning" if size > SKEW_WARNING_SECONDS else "ok"
    direction = "ahead of" if seconds > 0 else "behind"
    sentence = (
        f"This machine's clock is {size:.0f} s {direction} Twilio's." if size > 1 else "This machine and Twilio agree."
    )
    return Check(f"clock ({name})", state, sentence, "" if state == "ok" else "Let NTP set this machine's clock.")


# --- callbacks --------------------------------------------------------------------------------------------------------
async def _callback(settings: Settings, name: str, connection: Connection, session: aiohttp.ClientSession) -> Check:
    """One signed request to the public address, which stores nothing."""
    label = f"callbacks ({name})"
    base = settings.callbacks.public_url
    if base is None:
        return Check(label, "skipped", "callbacks.public_url is not set: no callbacks are expected.")
    if not connection.signing_tokens:
        return Check(label, "skipped", "The connection has no auth_token to sign with.")
    url = f"{base.rstrip('/')}/callbacks/events"
    token = connection.signing_tokens[0].get_secret_value()
    answer = await deliver_events(session, url, NO_EVENTS, token=token)
    return _judged(label, url, answer)


def _judged(label: str, url: str, answer: Delivered) -> Check:
    if (answer.status, answer.text) == ACCEPTED:
        return Check(label, "ok", f"{url} accepts our signature.")
    if answer.status == FORBIDDEN:
        sentence = f"{url} answers 403: the receiver there does not accept a signature over this address."
        remedy = "Its public_url or auth_token differs, or a proxy changes the request: see Callbacks in the console."
    elif answer.status:
        sentence = f"{url} answers {answer.status}, which is not the connector's answer."
        remedy = "Lead POST /callbacks/ from the proxy to the connector's callbacks.port, path and query unchanged."
    else:
        sentence = f"{url} cannot be reached from here: {answer.text}"
        remedy = "Start a connector with the role callbacks; look at DNS, certificate and proxy."
    return Check(label, "failed", sentence, remedy)
