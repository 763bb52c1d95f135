"""Spans in OpenTelemetry's terms; only `tracing` imports this, and only when spans are asked for.

The running span is that of OpenTelemetry's context. A span that is not recorded carries its decision on: what is
written within it names the trace as one that is not sampled.
"""

import logging
import time
from collections.abc import Callable, Sequence
from contextvars import Token
from typing import Self

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler, SamplingResult
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import Attributes

from connector import __version__

SERVICE = "twilio-kafka-connector"
TRACEPARENT = "traceparent"
_ERROR = Status(StatusCode.ERROR)
_propagator = TraceContextTextMapPropagator()


class Scope:
    """A span that is the running one while a `with` statement lasts."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span
        self._before: Token[Context] | None = None

    def __enter__(self) -> Self:
        self._before = contexts.attach(trace.set_span_in_context(self._span))
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace_: object) -> None:
        if self._before is not None:
            contexts.detach(self._before)
        if error is not None:
            self.fail(type(error).__name__)
        self.end()

    def end(self) -> None:
        """The work is done."""
        self._span.end()

    def note(self, **attributes: str | float | bool | None) -> None:
        """Add attributes."""
        given = {name.replace("__", "."): value for name, value in attributes.items() if value is not None}
        self._span.set_attributes(given)

    def fail(self, reason: str) -> None:
        """Say that it failed."""
        self._span.set_attribute("error.type", reason)
        self._span.set_status(_ERROR)


class Recorder:
    """Records and sends spans, as the OTEL_* variables say. `exporter`: `otlp` or `console`.

    `is_named`: the variables name the service. `told` is given a sentence on what is wrong, and when.
    """

    def __init__(self, exporter: str, *, is_named: bool, told: Callable[[str], None]) -> None:
        named = {} if is_named else {"service.name": SERVICE}
        self._provider = TracerProvider(resource=Resource.create({**named, "service.version": __version__}))
        self._provider.sampler = FollowLinks(self._provider.sampler)
        sink = ConsoleSpanExporter() if exporter == "console" else OTLPSpanExporter()
        self._provider.add_span_processor(BatchSpanProcessor(Told(sink, told)))
        # It reports every failure; `Told` tells of the first one and of the recovery.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        self._tracer = self._provider.get_tracer(SERVICE, __version__)

    def shutdown(self) -> None:
        """Send what is left."""
        self._provider.shutdown()

    def span(
        self,
        name: str,
        *,
        kind: str,
        parent: str | None,
        links: Sequence[str],
        attributes: Attributes,
        seconds_ago: float,
    ) -> Scope | None:
        """See `tracing.span`. None within a span that is not recorded."""
        running = trace.get_current_span()
        if parent is None and running.get_span_context().is_valid:
            if not running.is_recording():
                return None
            return Scope(self._start(name, kind, contexts.get_current(), attributes, seconds_ago=seconds_ago))
        above = _context_of(parent)
        linked = [context for context in map(_context_of, links) if context is not None]
        deciding = linked if above is None else [above]
        if deciding and not any(context.trace_flags.sampled for context in deciding):
            return Scope(NonRecordingSpan(deciding[0]))
        context = Context() if above is None else trace.set_span_in_context(NonRecordingSpan(above), Context())
        return Scope(self._start(name, kind, context, attributes, seconds_ago=seconds_ago, linked=linked))

    def _start(
        self,
        name: str,
        kind: str,
        context: Context,
        attributes: Attributes,
        *,
        seconds_ago: float,
        linked: Sequence[SpanContext] = (),
    ) -> trace.Span:
        return self._tracer.start_span(
            name,
            context=context,
            kind=SpanKind[kind.upper()],
            attributes=attributes,
            links=[Link(item) for item in linked],
            start_time=time.time_ns() - int(seconds_ago * 1e9) if seconds_ago else None,
            record_exception=False,
            set_status_on_exception=False,
        )

    def record(self, name: str, *, kind: str, seconds: float, attributes: Attributes, failure: str | None) -> None:
        """See `tracing.record`."""
        if not trace.get_current_span().is_recording():
            return
        scope = Scope(self._start(name, kind, contexts.get_current(), attributes, seconds_ago=seconds))
        if failure is not None:
            scope.fail(failure)
        scope.end()

    @staticmethod
    def traceparent() -> str | None:
        """The running span, as it is written beside a record."""
        context = trace.get_current_span().get_span_context()
        if not context.is_valid:
            return None
        # Level 1 of the specification knows no other flag.
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags & TraceFlags.SAMPLED:02x}"

    @staticmethod
    def exemplar() -> dict[str, str] | None:
        """The ids of the running span, if it is recorded."""
        running = trace.get_current_span()
        if not running.is_recording():
            return None
        context = running.get_span_context()
        return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


def _context_of(text: str | None) -> SpanContext | None:
    """The remote context that a traceparent names (W3C Trace Context, section 3.2)."""
    if text is None:
        return None
    context = trace.get_current_span(_propagator.extract({TRACEPARENT: text}, Context())).get_span_context()
    return context if context.is_valid else None


class FollowLinks(Sampler):
    """As the configured sampler decides; but what begins anew and is linked to a recorded trace is recorded too.

    Otherwise a command and its callbacks would be sampled independently.
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
