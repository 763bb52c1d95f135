"""Traces of the real process, collected by an OTLP receiver: producer, command, Twilio, result, callbacks."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from connector.simulator import Simulator
from connector.telemetry import tracing
from tests.producing import Message, produce
from tests.running import Connector, configuration, headers_of, until, wait_for_records
from tests.span_collector import Collector

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SENDER, RECIPIENT, BODY = "+15551234567", "+15557654321", "fictional words of a test"


def _command(topic: str, headers: dict[str, str]) -> Message:
    return Message(topic, {"to": RECIPIENT, "from": SENDER, "body": BODY}, "k", headers)


@asynccontextmanager
async def traced(document: dict[str, Any], folder: Path, **environment: str) -> AsyncIterator[Connector]:
    """A process that is told to trace by the standard variables."""
    process = Connector(document, folder)
    await process.apply_topics()
    try:
        yield await process.start(environment={"OTEL_BSP_SCHEDULE_DELAY": "100", **environment})
    finally:
        await process.kill()


def parent_of(span: Span) -> tuple[str, str]:
    return span.trace_id.hex(), span.parent_span_id.hex()


def traceparent_of(span: Span) -> str:
    return f"00-{span.trace_id.hex()}-{span.span_id.hex()}-01"


def attributes_of(span: Span) -> dict[str, Any]:
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in span.attributes}


async def test_a_trace_connects_producer_command_twilio_and_result_and_by_link_the_callbacks(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path, collector: Collector
) -> None:
    watches = [{"resource": "messages", "interval": "300ms"}]
    document = configuration(simulator, kafka=kafka, prefix=prefix, watches=watches)
    async with traced(document, tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url) as process:
        await process.wait_for_log("watch starts anew")
        topic = f"{prefix}.commands.send-message"
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "id": "c-1"}
        await asyncio.to_thread(produce, kafka, [_command(topic, headers)])
        (result,) = await wait_for_records(kafka, f"{prefix}.results.send-message", 1)
        statuses = await wait_for_records(kafka, f"{prefix}.message-status", 2)
        (watched,) = await wait_for_records(kafka, f"{prefix}.messages", 1)
        await until(lambda: len(collector.named("POST /callbacks/message-status")) == len(statuses))
        await until(lambda: collector.named(f"send {prefix}.messages"))
        # Only OpenMetrics has exemplars.
        url, accept = f"{process.admin}/metrics", {"Accept": "application/openmetrics-text"}
        async with aiohttp.ClientSession() as session, session.get(url, headers=accept) as answer:
            metrics = await answer.text()

    (command,) = collector.named(f"process {topic}")
    (request,) = collector.named("POST CreateMessage")
    (sent,) = collector.named(f"send {prefix}.results.send-message")
    assert parent_of(command) == (TRACE, PARENT)
    assert parent_of(request) == parent_of(sent) == (TRACE, command.span_id.hex())
    assert (command.kind, request.kind, sent.kind) == (Span.SPAN_KIND_CONSUMER, Span.SPAN_KIND_CLIENT, 4)
    assert attributes_of(request)["http.response.status_code"] == 201
    assert attributes_of(command)["twilio_kafka.command.id"] == "c-1"
    assert headers_of(result)["traceparent"] == traceparent_of(sent)

    callbacks = collector.named("POST /callbacks/message-status")
    assert {link.trace_id.hex() for span in callbacks for link in span.links} == {TRACE}
    assert all(span.trace_id.hex() != TRACE for span in callbacks)
    assert {headers_of(record)["traceparent"] for record in statuses} == set(map(traceparent_of, callbacks))

    (published,) = collector.named(f"send {prefix}.messages")
    poll = next(span for span in collector.named("poll messages") if span.span_id == published.parent_span_id)
    assert any(span.parent_span_id == poll.span_id for span in collector.named("GET ListMessage"))
    assert headers_of(watched)["traceparent"] == traceparent_of(published)

    assert re.search(rf'command_seconds_bucket{{.*}} 1\.0 # {{span_id="\w+",trace_id="{TRACE}"}}', metrics)
    assert re.search(r'callback_seconds_bucket{.*} \S+ # {span_id="\w+",trace_id="\w+"}', metrics)
    assert re.search(r"twilio_request_seconds_bucket{.*} \S+ # {span_id=", metrics)
    finished = next(json.loads(line) for line in process.log.splitlines() if "command finished" in line)
    assert finished["trace_id"] == TRACE
    for secret in (SENDER[1:], RECIPIENT[1:], BODY, simulator.auth_token):
        assert secret.encode() not in collector.raw


async def test_what_the_producer_does_not_sample_leaves_no_span_and_keeps_its_context(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path, collector: Collector
) -> None:
    document = configuration(simulator, kafka=kafka, prefix=prefix)
    async with traced(document, tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url):
        topic = f"{prefix}.commands.send-message"
        traces = {"no": f"00-{TRACE}-{PARENT}-00", "yes": f"00-{'1' * 32}-{PARENT}-01"}
        sent = [_command(topic, {"traceparent": trace, "id": name}) for name, trace in traces.items()]
        await asyncio.to_thread(produce, kafka, sent)
        unsampled, _ = await wait_for_records(kafka, f"{prefix}.results.send-message", 2)
        await until(lambda: collector.named("POST CreateMessage"))
    assert headers_of(unsampled)["traceparent"] == f"00-{TRACE}-{PARENT}-00"
    assert {span.trace_id.hex() for span in collector.spans} & {TRACE} == set()
    assert len(collector.named("POST CreateMessage")) == 1


async def test_without_tracing_a_trace_still_goes_through_to_result_and_status_events(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    document = configuration(simulator, kafka=kafka, prefix=prefix)
    given = f"00-{TRACE}-{PARENT}-01"
    async with traced(document, tmp_path):
        await asyncio.to_thread(produce, kafka, [_command(f"{prefix}.commands.send-message", {"traceparent": given})])
        (result,) = await wait_for_records(kafka, f"{prefix}.results.send-message", 1)
        statuses = await wait_for_records(kafka, f"{prefix}.message-status", 2)
    assert {headers_of(record)["traceparent"] for record in [result, *statuses]} == {given}


async def test_a_collector_that_is_away_is_told_once_and_keeps_nobody_from_stopping(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    watches = [{"resource": "messages", "interval": "200ms"}]
    document = configuration(simulator, kafka=kafka, prefix=prefix, watches=watches)
    away = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    async with traced(document, tmp_path, **away) as process:
        await process.wait_for_log("Spans cannot be sent")
        assert await process.stop(within=20) == 0
    assert process.log.count("Spans cannot be sent") == 1
    assert "Traceback" not in process.log


@pytest.fixture
def off() -> Iterator[None]:
    yield
    tracing.shutdown(0.1)


@pytest.mark.usefixtures("off")
@pytest.mark.parametrize(
    ("environ", "is_on"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "x"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_SAMPLER": "always_off"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_SAMPLER": "parentbased_always_off"}, True),
    ],
)
def test_only_the_standard_variables_switch_tracing_on(environ: dict[str, str], is_on: bool) -> None:  # noqa: FBT001
    tracing.configure(told=lambda _sentence: None, environ=environ)
    assert tracing.enabled is is_on


@pytest.mark.usefixtures("off")
def test_without_the_extra_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "connector.telemetry.spans", raising=False)
    told: list[str] = []
    tracing.configure(told=told.append, environ={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"})
    assert not tracing.enabled
    assert "twilio-kafka-connector[otel]" in told[0]
    with tracing.span("nothing") as span:
        span.note(a="b")
    assert tracing.traceparent() is None


def test_what_is_not_traced_makes_nothing_that_is_thrown_away() -> None:
    with tracing.span("process", kind="consumer", attributes={"a": "b"}) as span:
        span.note(outcome="succeeded")
        tracing.record("request", kind="client", seconds=0.1)
        assert tracing.exemplar() is None
        assert tracing.span("another") is tracing.span("process")
