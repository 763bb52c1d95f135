"""What tracing needs of OpenTelemetry's SDK; only `tracing` imports this, and only when spans are asked for."""

from collections.abc import Callable, Sequence

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes


def otlp() -> SpanExporter:
    """The exporter over HTTP, as the environment describes it."""
    return OTLPSpanExporter()


class FollowLinks(Sampler):
    """As the configured sampler decides; but what begins anew and is linked to a recorded trace is recorded too.

    Otherwise the callbacks of a command would be recorded by another throw of the dice than the command.
    """

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def should_sample(  # noqa: PLR0917 - the SDK's signature
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Decide on one span."""
        sampler = ALWAYS_ON if links else self._sampler
        return sampler.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        """For the resource's description."""
        return f"FollowLinks({self._sampler.get_description()})"


class Told(SpanExporter):
    """An exporter that says when spans cannot be sent, and when they can again."""

    def __init__(self, sink: SpanExporter, told: Callable[[str], None]) -> None:
        self._sink = sink
        self._told = told
        self._failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send these spans."""
        result = self._sink.export(spans)
        failing = result is not SpanExportResult.SUCCESS
        if failing != self._failing:
            self._told("Spans cannot be sent: the collector takes none." if failing else "Spans are sent again.")
        self._failing = failing
        return result

    def shutdown(self) -> None:
        """Close the connection."""
        self._sink.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what is held back."""
        return self._sink.force_flush(timeout_millis)
