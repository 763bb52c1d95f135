"""Traces (OpenTelemetry): what one piece of work did, from the command's producer to Twilio and back to Kafka.

Off unless OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or OTEL_TRACES_EXPORTER is set; then every
standard OTEL_* variable counts, sampling above all. Without the extra `otel`, or switched off, every function here does
nothing. No attribute holds a body, a number, a token or a signature; exceptions leave their class and nothing more.
"""

import os
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar, Token
from typing import Any, Literal, Protocol

from connector import __version__

SERVICE = "twilio-kafka-connector"
SHUTDOWN_SECONDS = 2.0
TRACEPARENT = "traceparent"
_FORM = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.{0,100})?")

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Attributes = Mapping[str, str | int | float | bool]


class Span(Protocol):
    """What is told of a piece of work while it is done."""

    def note(self, **attributes: str | float | bool | None) -> None:
        """Add attributes; names with `__` for the dots of their conventional form. None is left out."""

    def fail(self, reason: str) -> None:
        """Say that it failed; `reason` is a class of errors without content."""


class Scope(Protocol):
    """A span while a `with` statement lasts."""

    def __enter__(self) -> Span: ...
    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None: ...


class _Nothing:
    """Span and scope where nothing is recorded."""

    def __enter__(self) -> Span:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        return

    def note(self, **_attributes: str | float | bool | None) -> None:
        return

    def fail(self, _reason: str) -> None:
        return


_NOTHING = _Nothing()


class _Passed(_Nothing):
    """Work whose trace the caller decided not to record; what it writes carries that decision on."""

    def __init__(self, traceparent: str) -> None:
        self.traceparent = traceparent
        self.is_sampled = False
        self._before: Token[_Passed | _Recorded | None] | None = None

    def __enter__(self) -> Span:
        self._before = _current.set(self)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._before is not None:
            _current.reset(self._before)


class _Recorded:
    """A span of the SDK."""

    def __init__(self, span: Any) -> None:
        context = span.get_span_context()
        self.is_sampled = True
        self.trace_id, self.span_id = f"{context.trace_id:032x}", f"{context.span_id:016x}"
        self.traceparent = f"00-{self.trace_id}-{self.span_id}-01"
        self.span = span
        self._before: Token[_Passed | _Recorded | None] | None = None

    def __enter__(self) -> Span:
        self._before = _current.set(self)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._before is not None:
            _current.reset(self._before)
        if error is not None:
            self.fail(type(error).__name__)
        self.span.end()

    def note(self, **attributes: str | float | bool | None) -> None:
        given = {name.replace("__", "."): value for name, value in attributes.items() if value is not None}
        self.span.set_attributes(given)

    def fail(self, reason: str) -> None:
        self.span.set_attribute("error.type", reason)
        self.span.set_status(_sdk["error"])


_current: ContextVar[_Passed | _Recorded | None] = ContextVar("span", default=None)
_tracer: Any = None
_provider: Any = None
_sdk: dict[str, Any] = {}


def is_on() -> bool:
    """Whether anything is recorded at all."""
    return _tracer is not None


def span(
    name: str,
    *,
    kind: Kind = "internal",
    parent: str | None = None,
    links: Sequence[str] = (),
    attributes: Attributes | None = None,
    seconds_ago: float = 0.0,
) -> Scope:
    """A span within the running one, or within `parent` (a traceparent), that began so long ago.

    A span without a parent that is linked to others (traceparents) is recorded when one of those is.
    """
    if _tracer is None:
        return _NOTHING
    current = _current.get()
    if parent is None and current is not None:
        return _child(name, kind, current, attributes, seconds_ago)
    above = _context_of(parent)
    if above is not None and parent is not None and not above.trace_flags.sampled:
        return _Passed(parent)
    linked = [context for context in map(_context_of, links) if context is not None]
    if linked and not any(context.trace_flags.sampled for context in linked):
        return _Passed(links[0])
    context = _sdk["above"](above)
    return _started(name, kind, context, linked=linked, attributes=attributes, seconds_ago=seconds_ago)


def _child(
    name: str, kind: Kind, current: _Passed | _Recorded, attributes: Attributes | None, seconds_ago: float
) -> Scope:
    if isinstance(current, _Passed):
        return _NOTHING
    context = _sdk["within"](current.span)
    return _started(name, kind, context, attributes=attributes, seconds_ago=seconds_ago)


def _started(
    name: str,
    kind: Kind,
    context: Any,
    *,
    linked: Sequence[Any] = (),
    attributes: Attributes | None,
    seconds_ago: float,
) -> Scope:
    started = _tracer.start_span(
        name,
        context=context,
        kind=_sdk[kind],
        attributes=attributes,
        links=[_sdk["link"](item) for item in linked],
        start_time=time.time_ns() - int(seconds_ago * 1e9) if seconds_ago else None,
        record_exception=False,
        set_status_on_exception=False,
    )
    if started.is_recording():
        return _Recorded(started)
    context = started.get_span_context()
    return _Passed(f"00-{context.trace_id:032x}-{context.span_id:016x}-00")


def _context_of(traceparent: str | None) -> Any:
    """The remote context that a traceparent names (W3C Trace Context, section 3.2), None for none."""
    found = _FORM.fullmatch(traceparent or "")
    return _sdk["context"](int(found[1], 16), int(found[2], 16), int(found[3], 16)) if found else None


def record(
    name: str, *, kind: Kind, seconds: float, attributes: Attributes | None = None, failure: str | None = None
) -> None:
    """A span that has just ended and took so long, within the running one; `failure` is a class of errors."""
    current = _current.get() if _tracer is not None else None
    if not isinstance(current, _Recorded):
        return
    context = _sdk["within"](current.span)
    scope = _started(name, kind, context, attributes=attributes, seconds_ago=seconds)
    if isinstance(scope, _Recorded):
        if failure is not None:
            scope.fail(failure)
        scope.span.end()


def traceparent() -> str | None:
    """What to write beside a record, so that who reads it continues this trace."""
    if _tracer is None:
        return None
    current = _current.get()
    return current.traceparent if current is not None else None


def is_sampled(text: str | None) -> bool:
    """Whether a traceparent names a trace that is recorded."""
    found = _FORM.fullmatch(text or "")
    return found is not None and bool(int(found[3], 16) & 1)


def exemplar() -> dict[str, str] | None:
    """The labels of an exemplar (OpenMetrics) for what is measured now; None when it is not recorded."""
    if _tracer is None:
        return None
    current = _current.get()
    return {"trace_id": current.trace_id, "span_id": current.span_id} if isinstance(current, _Recorded) else None


def with_ids(_logger: object, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Add the ids of a recorded trace to a line of the log (a processor of structlog)."""
    found = exemplar()
    return event if found is None else {**event, **found}


# --- switching on and off ---------------------------------------------------------------------------------------------
def configure(*, told: Callable[[str], None], environ: Mapping[str, str] | None = None) -> None:
    """Record and send spans if the environment asks for it; `told` is given a sentence on what is wrong, and when."""
    environ = os.environ if environ is None else environ
    exporter = _wanted(environ)
    if exporter is None:
        return
    if environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf") == "grpc":
        told("OTEL_EXPORTER_OTLP_PROTOCOL is grpc: spans are sent with http/protobuf, usually to port 4318.")
    try:
        _begin(exporter, environ, told)
    except ImportError:
        told("Spans are asked for (OTEL_…) and cannot be sent: install the extra, twilio-kafka-connector[otel].")


def _wanted(environ: Mapping[str, str]) -> str | None:
    """The exporter that the standard variables ask for."""
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    asked = exporter or ("otlp" if any(environ.get(name) for name in endpoints) else "none")
    never = environ.get("OTEL_TRACES_SAMPLER", "").strip().lower() == "always_off"
    is_disabled = never or environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return asked if asked in ("otlp", "console") and not is_disabled else None


def _begin(exporter: str, environ: Mapping[str, str], told: Callable[[str], None]) -> None:
    import logging  # noqa: PLC0415 - here as everything that only a traced process needs

    from opentelemetry import trace  # noqa: PLC0415 - an extra
    from opentelemetry.context import Context  # noqa: PLC0415 - the same
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - the same
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - the same
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter  # noqa: PLC0415 - the same

    from connector.spans import FollowLinks, Told, otlp  # noqa: PLC0415 - needs the extra

    global _tracer, _provider  # noqa: PLW0603 - one for the process
    is_named = "OTEL_SERVICE_NAME" in environ or "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    named = {} if is_named else {"service.name": SERVICE}
    _provider = TracerProvider(resource=Resource.create({**named, "service.version": __version__}))
    _provider.sampler = FollowLinks(_provider.sampler)
    sink = ConsoleSpanExporter() if exporter == "console" else otlp()
    _provider.add_span_processor(BatchSpanProcessor(Told(sink, told)))
    # It reports every failure; `Told` tells of the first one and of the recovery.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    _sdk.update(
        {kind: trace.SpanKind[kind.upper()] for kind in ("internal", "server", "client", "producer", "consumer")},
        error=trace.Status(trace.StatusCode.ERROR),
        link=trace.Link,
        context=lambda trace_id, span_id, flags: trace.SpanContext(
            trace_id, span_id, is_remote=True, trace_flags=trace.TraceFlags(flags)
        ),
        within=trace.set_span_in_context,
        above=lambda context: (
            trace.set_span_in_context(trace.NonRecordingSpan(context), Context()) if context else Context()
        ),
    )
    _tracer = _provider.get_tracer(SERVICE, __version__)


def shutdown(seconds: float = SHUTDOWN_SECONDS) -> None:
    """Send what is left, not longer than this: a collector that is away does not delay the end of the process."""
    global _tracer, _provider
    provider, _provider, _tracer = _provider, None, None
    if provider is not None:
        ending = threading.Thread(target=provider.shutdown, name="spans-shutdown", daemon=True)
        ending.start()
        ending.join(seconds)
