"""What `make dev` starts with: ports that people expect, jars from a registry that a company's proxy stands before."""

import asyncio
import socket
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from connector.catalog import topics_of
from connector.dev import broker, session
from connector.dev.broker import Broker, free_port
from connector.dev.demo import traffic
from connector.errors import Unavailable
from connector.events import Record
from connector.kafka import produce, topics
from connector.settings import load
from connector.simulator import ACCOUNT_SID, AUTH_TOKEN, Simulator
from tests.brokers import QuickBroker
from tests.running import read_all, until, wait_for_records


def test_the_expected_port_is_taken_when_it_is_free_and_another_one_when_not() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        other = free_port(port)
    assert other not in (0, port)
    assert free_port(port) == port


@pytest.mark.parametrize("variable", ["PIP_CERT", "SSL_CERT_FILE"])
def test_the_jars_come_from_whom_pip_trusts(variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    # Set first, so that it is taken back afterwards.
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "")
    monkeypatch.setenv(variable, str(tmp_path / "authority.pem"))
    monkeypatch.setattr(broker, "KAFKA", "org.example.nothing:nothing:0")
    with pytest.raises(Unavailable) as refused:
        broker.classpath()
    # requests says which file it was to trust, and that it is not there.
    assert "authority.pem" in str(refused.value)
    assert "--kafka HOST:PORT" in str(refused.value)


async def test_a_broker_that_cannot_start_says_what_its_log_says(tmp_path: Path) -> None:
    wrong = Broker(folder=tmp_path, properties={"num.network.threads": "none"})
    with pytest.raises(Unavailable) as refused:
        await asyncio.wait_for(wrong.start(), timeout=60)
    assert "num.network.threads" in str(refused.value)


async def test_traffic_is_shown_although_the_broker_does_not_know_its_topics_yet(kafka: str, prefix: str) -> None:
    environ = {"TWILIO_ACCOUNT_SID": ACCOUNT_SID, "TWILIO_AUTH_TOKEN": AUTH_TOKEN, "KAFKA_BOOTSTRAP_SERVERS": kafka}
    environ |= {"CONNECTOR_KAFKA__TOPIC_PREFIX": prefix, "CONNECTOR_KAFKA__REPLICATION_FACTOR": "1"}
    settings = load(environ=environ)
    shown = StringIO()
    showing = asyncio.create_task(session._show(settings, Console(file=shown, width=200)))
    # Without topics it cannot begin.
    await asyncio.wait({showing}, timeout=2)
    assert not showing.done()
    await topics.apply(settings.kafka, topics_of(settings))
    await produce.send(settings.kafka, Record(f"{prefix}.commands.get", None, b"{}", [("id", b"c-1")]))
    await until(lambda: "command get" in shown.getvalue())
    showing.cancel()
    await asyncio.wait({showing})


async def test_the_demo_goes_on_after_kafka_was_killed_on_the_same_data_and_address(prefix: str) -> None:
    said: list[str] = []
    kafka = QuickBroker(progress=said.append)
    await kafka.start()
    keeping = asyncio.create_task(kafka.keep_running())
    driving = None
    try:
        environ = {"TWILIO_ACCOUNT_SID": ACCOUNT_SID, "TWILIO_AUTH_TOKEN": AUTH_TOKEN}
        environ |= {"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers, "CONNECTOR_KAFKA__TOPIC_PREFIX": prefix}
        settings = load(environ={**environ, "CONNECTOR_KAFKA__REPLICATION_FACTOR": "1"})
        await topics.apply(settings.kafka, topics_of(settings))
        driving = asyncio.create_task(traffic(settings, Simulator()))
        topic = f"{prefix}.commands.send-message"
        await wait_for_records(kafka.bootstrap_servers, topic, 1)
        await kafka.nodes[0].kill()
        await until(lambda: "Kafka is back." in said, within=60)
        before = len(await read_all(kafka.bootstrap_servers, topic))
        assert before
        await wait_for_records(kafka.bootstrap_servers, topic, before + 1)
    finally:
        for task in (keeping, driving):
            if task is not None:
                task.cancel()
        await kafka.stop()
