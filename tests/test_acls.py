"""Rights on Kafka: with what `topics list --acls` prints everything works, and one less is named."""

import asyncio
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its module lists nothing as exported
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from connector.catalog import acls_of, rights_of
from connector.kafka import rights
from connector.kafka.rights import Acl, sentences
from connector.settings import KafkaSettings
from connector.simulator import Simulator
from tests.forked import completed
from tests.producing import Message, produce
from tests.running import Connector, configuration, values, wait_for_records
from tests.secure_kafka import ROBOT, ROBOT_PASSWORD, SecureKafka, secure_kafka

COMMAND = {"to": "+15557654321", "from": "+15551234567", "body": "Hello"}
RESOURCES = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional-id": ResourceType.TRANSACTIONAL_ID,
}
OPERATIONS = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
}

pytestmark = pytest.mark.filterwarnings("ignore:.*TRANSACTIONAL_ID.*")


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    """The broker; the robot may nothing."""
    with secure_kafka(tmp_path_factory.mktemp("acls")) as kafka:
        yield kafka


def binding(acl: dict[str, Any]) -> AclBinding:
    pattern = ResourcePatternType.PREFIXED if acl["prefixed"] else ResourcePatternType.LITERAL
    return AclBinding(
        RESOURCES[acl["resource"]],
        acl["name"],
        pattern,
        f"User:{ROBOT}",
        "*",
        OPERATIONS[acl["operation"]],
        AclPermissionType.ALLOW,
    )


def filter_of(acl: AclBinding) -> AclBindingFilter:
    return AclBindingFilter(
        acl.restype, acl.name, acl.resource_pattern_type, acl.principal, acl.host, acl.operation, acl.permission_type
    )


class Granted:
    """The rights of the robot."""

    def __init__(self, kafka: SecureKafka) -> None:
        self._admin = AdminClient({"bootstrap.servers": kafka.open_address})

    def grant(self, acls: Sequence[dict[str, Any]]) -> None:
        for future in self._admin.create_acls([binding(acl) for acl in acls]).values():
            future.result(timeout=20)

    def revoke(self, acl: dict[str, Any]) -> None:
        for future in self._admin.delete_acls([filter_of(binding(acl))]).values():
            assert len(future.result(timeout=20)) == 1

    @contextmanager
    def without(self, acl: dict[str, Any]) -> Iterator[None]:
        self.revoke(acl)
        try:
            yield
        finally:
            self.grant([acl])


def printed(process: Connector, *options: str) -> list[dict[str, Any]]:
    """What the command line prints for machines."""
    process.settings  # noqa: B018 - writes the file
    file = str(process.folder / f"{process.name}.yaml")
    done = completed("topics", "list", "--acls", "--format", "json", *options, "-c", file, env=os.environ)
    found = json.loads(done.stdout)
    assert found["principal"] == f"User:{ROBOT}"
    return list(found["acls"])


def document_of(secured: SecureKafka, simulator: Simulator, prefix: str) -> dict[str, Any]:
    document = configuration(
        simulator, kafka="", prefix=prefix, watches=[{"resource": "messages", "interval": "300ms"}]
    )
    document["kafka"] |= secured.over_sasl("PLAIN", user=ROBOT, password=ROBOT_PASSWORD, protocol="SASL_PLAINTEXT")
    document["commands"] |= {"reply_topics": [f"{prefix}-answers-*"]}
    return document


async def as_administrator(process: Connector, secured: SecureKafka) -> None:
    """Create the topics with somebody else's rights."""
    open_kafka = {"bootstrap_servers": secured.open_address, "security_protocol": "PLAINTEXT"}
    own = {name: item for name, item in process.document["kafka"].items() if name not in ("sasl", "tls")}
    document = {**process.document, "kafka": {**own, **open_kafka}}
    await Connector(document, process.folder, name="administrator").apply_topics()


async def test_with_the_printed_acls_everything_works_and_one_less_is_named(
    secured: SecureKafka, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    kafka = secured.open_address
    document = document_of(secured, simulator, prefix)
    process = Connector(document, tmp_path, name="connector-1")
    await as_administrator(process, secured)
    acls = await asyncio.to_thread(printed, process)
    granted = Granted(secured)
    needed = rights_of(process.settings)
    await asyncio.to_thread(granted.grant, acls)
    await only_missing(process.settings.kafka, needed, None)

    await process.start()
    try:
        await works(process, kafka, prefix)
    finally:
        await process.kill()
    assert '"level": "error"' not in process.log
    assert "not allowed" not in process.log

    for acl in acls:
        if acl["resource"] == "topic" and acl["prefixed"]:
            # What a caller names is seen when somebody names it.
            continue
        with granted.without(acl):
            await only_missing(process.settings.kafka, needed, acl)


async def only_missing(kafka: KafkaSettings, needed: Sequence[Acl], acl: dict[str, Any] | None) -> None:
    """Wait until the start would say one sentence, that of this right, or none; the broker hears of a change later.

    Without its last right on a topic one may not even describe it.
    """
    found = sentences(await rights.missing(kafka, needed))
    async with asyncio.timeout(20):
        while not names(found, acl):
            found = sentences(await rights.missing(kafka, needed))


def names(sentences: Sequence[str], acl: dict[str, Any] | None) -> bool:
    """Whether this right is the only one that the sentences name; without one, whether there is no sentence."""
    if acl is None or len(sentences) != 1:
        return acl is None and not sentences
    operations, _, resource = sentences[0].partition(" is not allowed to us ")[0].partition(" on ")
    is_kind = resource.startswith(acl["resource"].replace("-", " "))
    return acl["operation"] in operations.split(" and ") and is_kind and resource.endswith(f" {acl['name']}")


async def works(process: Connector, kafka: str, prefix: str) -> None:
    """The main job, a rejected and a repeated command, a reply, a pause of a watch, and the console."""
    await process.wait_for_log("watch starts anew")
    commands = f"{prefix}.commands.send-message"
    reply = f"{prefix}-answers-1"
    admin = AdminClient({"bootstrap.servers": kafka})
    for future in admin.create_topics([NewTopic(reply, 1, 1)]).values():
        future.result(timeout=20)
    for headers in ({"id": "one"}, {"id": "one"}, {"id": "two", "reply-to": reply}):
        await asyncio.to_thread(produce, kafka, [Message(commands, COMMAND, headers=headers)])
    await asyncio.to_thread(produce, kafka, [Message(commands, {"nonsense": 1})])
    results = values(await wait_for_records(kafka, f"{prefix}.results.send-message", 4))
    assert sorted(result["outcome"] for result in results) == ["duplicate", "rejected", "succeeded", "succeeded"]
    await wait_for_records(kafka, reply, 1)
    await wait_for_records(kafka, f"{prefix}.dead-letters", 1)
    await wait_for_records(kafka, f"{prefix}.message-status", 4)
    await wait_for_records(kafka, f"{prefix}.messages", 2)
    headers = {"X-Twilio-Kafka": "1"}
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{process.admin}/api/watches/messages/pause", headers=headers) as answer:
            assert answer.status < 300, await answer.text()
        async with session.get(f"{process.admin}/api/dead-letters") as answer:
            assert answer.status == 200
        (letter,) = await wait_for_records(kafka, f"{prefix}.dead-letters", 1)
        place = f"{process.admin}/api/dead-letters/{letter.partition}/{letter.offset}"
        async with session.post(f"{place}/replay", headers=headers) as answer:
            assert answer.status == 200, await answer.text()
    await wait_for_records(kafka, f"{prefix}.control", 3)


async def test_a_start_without_a_right_ends_with_69_and_the_sentence(
    secured: SecureKafka, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    process = Connector(document_of(secured, simulator, prefix), tmp_path)
    await as_administrator(process, secured)
    granted = Granted(secured)
    acls = await asyncio.to_thread(printed, process, "--no-console")
    journal = next(acl for acl in acls if acl["name"].endswith(".journal") and acl["operation"] == "Write")
    await asyncio.to_thread(granted.grant, [acl for acl in acls if acl != journal])
    needed = acls_of(process.settings, console=False)
    await only_missing(process.settings.kafka, needed, journal)
    await process.start(ready=False, afresh=True)
    assert process.process is not None
    async with asyncio.timeout(30):
        assert await process.process.wait() == 69
    last = process.log.strip().splitlines()[-1]
    assert last == (
        f"Write on topic {prefix}.journal is not allowed to us (commands); "
        "`twilio-kafka topics list --acls` prints the ACL."
    )
    await asyncio.to_thread(granted.grant, [journal])
    await only_missing(process.settings.kafka, needed, None)
    await process.start()
    await process.kill()
