"""The optional registry: schemas are registered at the start, ids travel in headers, Confluent's client reads them."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import encode_basic_auth, web
from confluent_kafka.schema_registry import AsyncSchemaRegistryClient
from confluent_kafka.schema_registry.json_schema import AsyncJSONDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext
from pydantic import ValidationError

from connector.errors import Unavailable
from connector.schemas import registry
from connector.settings.kafka import KafkaSettings, RegistrySettings
from connector.simulator import Simulator
from tests.producing import Message, produce
from tests.running import Connector, configuration, read_all, running, values, wait_for_records
from tests.twilio_servers import serving

USER, PASSWORD = "registrar", "secret"


@dataclass
class Registry:
    """A small registry: equal schemas have equal ids. Without `guids` it is an older one."""

    guids: bool = True
    refuses: str = ""
    subjects: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: int = 0
    url: str = ""

    async def answer(self, request: web.BaseRequest) -> web.Response:
        self.requests += 1
        if request.headers.get("Authorization") != encode_basic_auth(USER, PASSWORD):
            return web.json_response({"error_code": 40101, "message": "Unauthorized"}, status=401)
        kind, name, *_ = request.path.strip("/").split("/")
        if request.method == "POST" and kind == "subjects":
            return self._register(name, await request.json())
        wanted = request.path.rpartition("/")[2]
        rows = self.subjects.values() if kind == "schemas" else ()
        found = next((row for row in rows if wanted in (str(row["id"]), row.get("guid"))), None)
        absent = {"error_code": 40403, "message": "Not found"}
        return web.json_response(absent if found is None else found, status=404 if found is None else 200)

    def _register(self, subject: str, body: dict[str, Any]) -> web.Response:
        if subject == self.refuses:
            return web.json_response({"error_code": 409, "message": "incompatible with version 1"}, status=409)
        number = next((row["id"] for row in self.subjects.values() if row["schema"] == body["schema"]), None)
        number = number or len(self.subjects) + 1
        guid = {"guid": str(uuid.uuid5(uuid.NAMESPACE_URL, body["schema"]))} if self.guids else {}
        self.subjects[subject] = {**body, "id": number, **guid}
        return web.json_response({"id": number, **guid})

    @property
    def settings(self) -> dict[str, str]:
        return {"url": self.url, "username": USER, "password": PASSWORD}


@asynccontextmanager
async def registering(**options: Any) -> AsyncIterator[Registry]:
    stand_in = Registry(**options)
    async with serving(stand_in.answer) as url:
        stand_in.url = url
        yield stand_in


@pytest.mark.parametrize("guids", [True, False])
async def test_records_carry_the_ids_of_their_schemas_and_confluents_client_reads_them(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path, *, guids: bool
) -> None:
    async with registering(guids=guids) as stand_in:
        watches = [{"resource": "messages", "interval": "100ms"}]
        document = configuration(simulator, kafka=kafka, prefix=prefix, watches=watches)
        document["kafka"]["schema_registry"] = stand_in.settings
        async with running(document, tmp_path) as (process,):
            await process.wait_for_log("watch starts anew")
            value = {"to": "+15550100002", "from": "+15550100001", "body": "Hello"}
            await asyncio.to_thread(produce, kafka, [Message(f"{prefix}.commands.send-message", value, "k")])
            topics = [f"{prefix}.{name}" for name in ("results.send-message", "message-status", "messages")]
            records = {topic: (await wait_for_records(kafka, topic, 1))[0] for topic in topics}
            assert "schemas registered" in process.log
        options = {"url": stand_in.url, "basic.auth.user.info": f"{USER}:{PASSWORD}"}
        async with AsyncSchemaRegistryClient(options) as client:
            for topic, record in records.items():
                read = await AsyncJSONDeserializer(None, schema_registry_client=client)
                context = SerializationContext(topic, MessageField.VALUE, dict(record.headers))
                assert await read(record.value, context) == orjson.loads(record.value)
    commands = {f"{prefix}.commands.{name}-value" for name in ("send-message", "get", "call-api")}
    assert {f"{topic}-value" for topic in topics} | commands <= set(stand_in.subjects)
    assert {row["schemaType"] for row in stand_in.subjects.values()} == {"JSON"}
    assert await read_all(kafka, f"{prefix}.dead-letters") == []


async def test_without_a_registry_records_have_no_schema_ids(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    document = configuration(simulator, kafka=kafka, prefix=prefix)
    async with running(document, tmp_path):
        value = {"resource": "calls"}
        await asyncio.to_thread(produce, kafka, [Message(f"{prefix}.commands.list", value, "k")])
        (record,) = await wait_for_records(kafka, f"{prefix}.results.list", 1)
    assert values([record])[0]["outcome"] == "succeeded"
    assert not any("schema_id" in name for name, _ in record.headers)


async def refused_start(document: dict[str, Any], folder: Path, **environment: str) -> tuple[int, str]:
    """Exit code and log of a process that does not start."""
    process = Connector(document, folder, environment=environment)
    await process.apply_topics()
    await process.start(ready=False, afresh=True)
    assert process.process is not None
    async with asyncio.timeout(30):
        return await process.process.wait(), process.log


async def test_a_registry_that_does_not_answer_ends_the_start_with_69(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    document = configuration(simulator, kafka=kafka, prefix=prefix)
    document["kafka"]["schema_registry"] = {"url": "http://127.0.0.1:1"}
    code, log = await refused_start(document, tmp_path)
    assert code == 69
    assert "kafka.schema_registry.url: http://127.0.0.1:1 does not answer (ConnectError)" in log
    assert "Traceback" not in log


async def test_the_missing_extra_ends_the_start_with_78(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    (tmp_path / "confluent_kafka.py").write_text("raise ImportError('not installed')")
    document = configuration(simulator, kafka=kafka, prefix=prefix)
    document["kafka"]["schema_registry"] = {"url": "http://127.0.0.1:1"}
    code, log = await refused_start(document, tmp_path, PYTHONPATH=str(tmp_path))
    assert code == 78
    assert "kafka.schema_registry: needs the extra 'registry'" in log


async def test_what_a_registry_says_is_passed_on() -> None:
    schema = {"t.calls": {"type": "object"}}
    async with registering(refuses="t.calls-value") as stand_in:
        settings = RegistrySettings.model_validate(stand_in.settings)
        with pytest.raises(Unavailable, match=r"t\.calls-value \(HTTP 409: incompatible with version 1\)"):
            await registry.register(settings, schema)
        with pytest.raises(Unavailable, match=r"HTTP 401: Unauthorized"):
            await registry.register(RegistrySettings(url=stand_in.url), schema)
    assert stand_in.subjects == {}


def test_a_registry_does_not_go_with_structured_values() -> None:
    named = RegistrySettings(url="https://registry.example.com")
    with pytest.raises(ValidationError, match="set envelope to binary"):
        KafkaSettings(envelope="structured", schema_registry=named)
