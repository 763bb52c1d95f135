"""Several accounts, keys and hosts at once; tokens that rotate while everything runs; refused credentials."""

import asyncio
import pkgutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
from twilio import rest

from connector.resources.hosts import HOSTS, Host
from connector.settings import Connection
from connector.simulator import ACCOUNT_SID, AUTH_TOKEN, Account, ApiKey, Simulator
from connector.simulator.callbacks import Delivery
from tests.producing import Message, produce
from tests.running import Connector, configuration, headers_of, read_all, running, until, values, wait_for_records

SUBACCOUNT = "AC" + "5" * 32
KEYED = "AC" + "6" * 32
FAR = "AC" + "7" * 32
KEY = ApiKey(sid="SK" + "6" * 32, secret="key-secret")
TOKENS = {ACCOUNT_SID: AUTH_TOKEN, SUBACCOUNT: "token-of-sub", KEYED: "token-of-keyed", FAR: "token-of-far"}
ACCOUNTS = (
    Account(),
    Account(sid=SUBACCOUNT, auth_token=TOKENS[SUBACCOUNT], parent=ACCOUNT_SID, api_keys=()),
    Account(sid=KEYED, auth_token=TOKENS[KEYED], api_keys=(KEY,)),
)
# A message that the account has sent, as Twilio reports it.
REPORT = {"MessageSid": "SM" + "c" * 32, "MessageStatus": "delivered"}
QUICK = "100ms"


def report(simulator: Simulator, process: Connector, account: str, *, signed_by: str = "") -> Delivery:
    """A status callback of an account, signed as Twilio does unless by another account's token."""
    url = f"{process.callbacks}/callbacks/message-status?command=of-{account}"
    delivery = simulator.deliveries.send(
        kind="message-status",
        url=url,
        account_sid=signed_by or account,
        parameters={**REPORT, "AccountSid": account},
    )
    assert delivery is not None
    return delivery


def connections(near: Simulator, far: Simulator) -> dict[str, dict[str, Any]]:
    """Four accounts in two regions."""
    paced = {"calls_per_second": 0}
    return {
        "default": {"account_sid": ACCOUNT_SID, "auth_token": AUTH_TOKEN, "api_url": near.url, **paced},
        "sub": {"account_sid": SUBACCOUNT, "auth_token": TOKENS[SUBACCOUNT], "api_url": near.url, **paced},
        "keyed": {
            "account_sid": KEYED,
            "auth_token": TOKENS[KEYED],
            "api_key": KEY.sid,
            "api_secret": KEY.secret,
            "api_url": near.url,
            **paced,
        },
        "far": {"account_sid": FAR, "auth_token": TOKENS[FAR], "api_url": far.url, **paced},
    }


async def test_each_connection_has_its_own_account_credentials_host_and_signatures(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    async with (
        Simulator(seed=1, accounts=ACCOUNTS) as near,
        Simulator(seed=2, accounts=[Account(sid=FAR, auth_token=TOKENS[FAR])]) as far,
    ):
        named = connections(near, far)
        watches = [
            {"name": f"inbox-{name}", "resource": "messages", "connection": name, "interval": QUICK} for name in named
        ]
        document = configuration(near, kafka=kafka, prefix=prefix, connections=named, watches=watches)
        async with running(document, tmp_path) as (process,):
            await until(lambda: process.log.count("watch starts anew") == len(named))
            for name in named:
                value = {"to": "+15550100002", "from": "+15550100001", "body": name}
                headers = {"id": name, "connection": name}
                topic = f"{prefix}.commands.send-message"
                await asyncio.to_thread(produce, kafka, [Message(topic, value, name, headers)])
            results = values(await wait_for_records(kafka, f"{prefix}.results.send-message", len(named)))
            watched = await wait_for_records(kafka, f"{prefix}.messages", len(named))
            statuses = await wait_for_records(kafka, f"{prefix}.message-status", 2 * len(named))
            forged = [
                report(near, process, ACCOUNT_SID, signed_by=SUBACCOUNT),
                report(near, process, SUBACCOUNT, signed_by=ACCOUNT_SID),
            ]
            await near.settle()
            assert len(await read_all(kafka, f"{prefix}.message-status")) == len(statuses)

    accounts = {name: str(section["account_sid"]) for name, section in named.items()}
    made = {result["command"]["id"]: result["bundles"][0] for result in results}
    assert {name: bundle["account_sid"] for name, bundle in made.items()} == accounts
    assert {entry.account_sid for entry in far.journal} == {FAR}
    assert {entry.account_sid for entry in near.journal} == {ACCOUNT_SID, SUBACCOUNT, KEYED}
    assert [entry.status for entry in (*near.journal, *far.journal) if entry.status >= 400] == []
    for record in watched:
        headers = headers_of(record)
        connection = headers["ce_watch"].removeprefix("inbox-")
        assert orjson.loads(record.value)["account_sid"] == accounts[connection]
        assert headers["ce_source"] == f"/twilio/{accounts[connection]}/messages"
    for record in statuses:
        headers = headers_of(record)
        assert headers["ce_source"] == f"/twilio/{accounts[headers['ce_causationid']]}/messages"
    assert [delivery.attempts[-1]["status"] for delivery in forged] == [403, 403]


def test_edge_and_region_make_the_host_of_every_product() -> None:
    def hosts(**place: str) -> Mapping[Host, str]:
        return Connection(account_sid=ACCOUNT_SID, auth_token=AUTH_TOKEN, **place).bases

    assert hosts() == {product: f"https://{product}.twilio.com" for product in HOSTS}
    assert hosts(edge="dublin", region="ie1") == {
        product: f"https://{product}.dublin.ie1.twilio.com" for product in HOSTS
    }
    assert hosts(edge="ashburn") == {product: f"https://{product}.ashburn.us1.twilio.com" for product in HOSTS}


def test_every_product_of_the_official_sdk_has_its_host() -> None:
    client = rest.Client(ACCOUNT_SID, AUTH_TOKEN)
    domains = [module.name for module in pkgutil.iter_modules(rest.__path__) if module.ispkg]
    assert {getattr(client, domain).base_url for domain in domains} == {
        f"https://{product}.twilio.com" for product in HOSTS
    }


# --- rotation -------------------------------------------------------------------------------------------------------
NEW = "the-promoted-token"
VARIABLE = "CONNECTOR_CONNECTIONS__DEFAULT__AUTH_TOKEN_FILE"


def rotating(
    simulator: Simulator, folder: Path, kafka: str, prefix: str
) -> tuple[dict[str, Any], Mapping[str, str], Path]:
    """A configuration whose token stands in a file, with the environment that names the file."""
    file = folder / "auth-token"
    file.write_text(AUTH_TOKEN)
    account = {"account_sid": ACCOUNT_SID, "api_url": simulator.url, "calls_per_second": 0}
    watches = [{"resource": "messages", "interval": QUICK}]
    document = configuration(simulator, kafka=kafka, prefix=prefix, connections={"default": account}, watches=watches)
    return document, {VARIABLE: str(file)}, file


def promote(simulator: Simulator) -> None:
    """Twilio switches at once: signatures and REST know only the new token."""
    simulator.state.add_account(Account(auth_token=NEW))


async def test_a_promoted_token_is_found_in_its_file_and_no_callback_is_lost(
    kafka: str, prefix: str, tmp_path: Path, simulator: Simulator
) -> None:
    document, environment, file = rotating(simulator, tmp_path, kafka, prefix)
    async with running(document, tmp_path, environment=environment) as (process,):
        await process.wait_for_log("watch starts anew")
        deliveries = []
        for number in range(60):
            if number == 20:
                file.write_text(NEW)
            if number == 40:
                promote(simulator)
            deliveries.append(report(simulator, process, ACCOUNT_SID))
            await asyncio.sleep(0.005)
        await simulator.settle()
        await process.wait_for_log("secrets renewed")
        # What was signed just before the promotion may still be on its way.
        async with Simulator(seed=2) as before:
            late = report(before, process, ACCOUNT_SID)
            await before.settle()
        deliveries.append(late)
        (sid,) = simulator.fill("messages", count=1)
        (message,) = await wait_for_records(kafka, f"{prefix}.messages", 1)
        statuses = await wait_for_records(kafka, f"{prefix}.message-status", len(deliveries))
    assert [delivery.attempts[0]["status"] for delivery in deliveries] == [204] * len(deliveries)
    assert {headers_of(record)["ce_twilioidempotencytoken"] for record in statuses} == {
        delivery.token for delivery in deliveries
    }
    assert message.key.decode() == sid
    assert "callback refused" not in process.log
    assert "credentials refused" not in process.log


async def test_additional_tokens_and_a_signal_carry_a_rotation_without_a_lost_callback(
    kafka: str, prefix: str, tmp_path: Path, simulator: Simulator
) -> None:
    document, environment, file = rotating(simulator, tmp_path, kafka, prefix)
    document["connections"]["default"]["additional_auth_tokens"] = [NEW]
    async with running(document, tmp_path, environment=environment) as (process,):
        await process.wait_for_log("watch starts anew")
        deliveries = [report(simulator, process, ACCOUNT_SID) for _ in range(20)]
        promote(simulator)
        deliveries += [report(simulator, process, ACCOUNT_SID) for _ in range(20)]
        await process.wait_for_log("credentials refused")
        file.write_text(NEW)
        process.send_signal(signal.SIGHUP)
        await process.wait_for_log("secrets renewed")
        deliveries += [report(simulator, process, ACCOUNT_SID) for _ in range(20)]
        (sid,) = simulator.fill("messages", count=1)
        (message,) = await wait_for_records(kafka, f"{prefix}.messages", 1)
        await simulator.settle()
    assert [delivery.attempts[0]["status"] for delivery in deliveries] == [204] * len(deliveries)
    assert message.key.decode() == sid
    assert process.log.count("credentials refused") == 1
    assert "credentials accepted again" in process.log


async def test_a_single_401_is_not_yet_a_wrong_token(
    kafka: str, prefix: str, tmp_path: Path, simulator: Simulator
) -> None:
    document, environment, _ = rotating(simulator, tmp_path, kafka, prefix)
    async with running(document, tmp_path, environment=environment) as (process,):
        await process.wait_for_log("watch starts anew")
        simulator.fault("unauthorized", "ListMessage", times=1)
        await process.wait_for_log("polling works again")
        (sid,) = simulator.fill("messages", count=1)
        (message,) = await wait_for_records(kafka, f"{prefix}.messages", 1)
        # A command is tried again as well.
        simulator.fault("unauthorized", "CreateMessage", times=1)
        value = {"to": "+15550100002", "from": "+15550100001", "body": "Hello"}
        await asyncio.to_thread(produce, kafka, [Message(f"{prefix}.commands.send-message", value, "k")])
        (result,) = values(await wait_for_records(kafka, f"{prefix}.results.send-message", 1))
    assert message.key.decode() == sid
    assert (result["outcome"], result["attempts"]) == ("succeeded", 2)
    assert "credentials refused" not in process.log
    assert "secrets renewed" not in process.log
