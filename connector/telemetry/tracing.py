"""Traces (OpenTelemetry): what one piece of work did, from the command's producer to Twilio and back to Kafka.

Off unless OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or OTEL_TRACES_EXPORTER is set; then every
standard OTEL_* variable counts, sampling above all. Without the extra `otel`, or switched off, every function here does
nothing: `spans`, which needs OpenTelemetry, is imported only when spans are asked for. No attribute holds a body, a
number, a token or a signature; exceptions leave their class and nothing more.
"""

import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from connector.telemetry.spans import Recorder

SHUTDOWN_SECONDS = 2.0
TRACEPARENT = "traceparent"
# W3C Trace Context, section 3.2: trace, span, flags.
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
    """The span where nothing is recorded."""

    def note(self, **_attributes: str | float | bool | None) -> None:
        return

    def fail(self, _reason: str) -> None:
        return


NOTHING: Scope = nullcontext(_Nothing())
"""Where nothing is recorded: what runs for each command or row looks at `enabled` before it asks for a span."""
_recorder: "Recorder | None" = None
enabled = False
"""Whether anything is recorded at all: what would cost time is asked for then alone."""


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
    if _recorder is None:
        return NOTHING
    found = _recorder.span(name, kind=kind, parent=parent, links=links, attributes=attributes, seconds_ago=seconds_ago)
    return found or NOTHING


def record(
    name: str, *, kind: Kind, seconds: float, attributes: Attributes | None = None, failure: str | None = None
) -> None:
    """A span that has just ended and took so long, within the running one; `failure` is a class of errors."""
    if _recorder is not None:
        _recorder.record(name, kind=kind, seconds=seconds, attributes=attributes, failure=failure)


def traceparent() -> str | None:
    """What to write beside a record, so that its reader continues this trace."""
    return None if _recorder is None else _recorder.traceparent()


def is_sampled(text: str | None) -> bool:
    """Whether a traceparent names a trace that is recorded."""
    found = _FORM.fullmatch(text or "")
    return found is not None and bool(int(found[3], 16) & 1)


def exemplar() -> dict[str, str] | None:
    """The labels of an exemplar (OpenMetrics) for what is measured now; None when it is not recorded."""
    return None if _recorder is None else _recorder.exemplar()


def with_ids(_logger: object, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Add the ids of a recorded trace to a line of the log (a processor of structlog)."""
    found = exemplar()
    return event if found is None else {**event, **found}


# --- switching on and off ---------------------------------------------------------------------------------------------
def configure(*, told: Callable[[str], None], environ: Mapping[str, str] | None = None) -> None:
    """Record and send spans if the environment asks for it; `told` is given a sentence on what is wrong, and when."""
    global _recorder, enabled
    environ = os.environ if environ is None else environ
    exporter = _wanted(environ)
    if exporter is None:
        return
    if environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf") == "grpc":
        told("OTEL_EXPORTER_OTLP_PROTOCOL is grpc: spans are sent with http/protobuf, usually to port 4318.")
    try:
        from connector.telemetry.spans import Recorder  # noqa: PLC0415 - needs the extra
    except ImportError:
        told("Spans are asked for (OTEL_…) and cannot be sent: install the extra, twilio-kafka-connector[otel].")
        return
    is_named = "OTEL_SERVICE_NAME" in environ or "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    _recorder, enabled = Recorder(exporter, is_named=is_named, told=told), True


def _wanted(environ: Mapping[str, str]) -> str | None:
    """The exporter that the standard variables ask for."""
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    asked = exporter or ("otlp" if any(environ.get(name) for name in endpoints) else "none")
    never = environ.get("OTEL_TRACES_SAMPLER", "").strip().lower() == "always_off"
    is_disabled = never or environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return asked if asked in ("otlp", "console") and not is_disabled else None


def shutdown(seconds: float = SHUTDOWN_SECONDS) -> None:
    """Send what is left, not longer than this: a collector that is away does not delay the end of the process."""
    global _recorder, enabled
    recorder, _recorder, enabled = _recorder, None, False
    if recorder is not None:
        ending = threading.Thread(target=recorder.shutdown, name="spans-shutdown", daemon=True)
        ending.start()
        ending.join(seconds)
