"""Logging set-up and every metric, each with what it tells. Labels hold no number, SID or topic of a user."""

import asyncio
import json
import logging
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics

from connector import __version__, tracing
from connector.bare_structlog import ExcInfo, structlog
from connector.exposition import TEXT, text
from connector.rhythm import until_next
from connector.terminal import visible, visible_lines

# prometheus_client adds a `_created` series to each counter and histogram; no dashboard or alert reads them.
disable_created_metrics()  # type: ignore[no-untyped-call]  # untyped in the library
REGISTRY = CollectorRegistry()
LOOK_SECONDS = 0.5

SAMPLE_SECONDS = 10.0
KINDS_REMEMBERED = 1_000

LATENCIES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


def _counter(name: str, documentation: str, *labels: str) -> Counter:
    return Counter(f"twilio_kafka_{name}", documentation, labels, registry=REGISTRY)


def _gauge(name: str, documentation: str, *labels: str) -> Gauge:
    return Gauge(f"twilio_kafka_{name}", documentation, labels, registry=REGISTRY)


def _histogram(name: str, documentation: str, *labels: str) -> Histogram:
    return Histogram(f"twilio_kafka_{name}", documentation, labels, registry=REGISTRY, buckets=LATENCIES)


# Watches. What is counted has the same outcomes in `connector.baseline`, which starts the series at 0.
WATCH_PUBLISHED = _counter("watch_published", "Events published by a watch.", "watch")
WATCH_LAG = _gauge("watch_lag_seconds", "Age of the oldest record that is seen and not yet published.", "watch")
WATCH_CURSOR_AGE = _gauge("watch_cursor_age_seconds", "Time since the cursor was last written.", "watch")
WATCH_INTERVAL = _gauge("watch_interval_seconds", "The configured time between two polls.", "watch")
WATCH_PAUSED = _gauge("watch_paused", "1 while the watch is paused by an operator, else 0.", "watch")
WATCH_POLLS = _counter("watch_polls", "Polls by outcome: published, idle, failed, superseded.", "watch", "outcome")

# Callbacks.
CALLBACKS = _counter(
    "callbacks",
    "Callbacks by outcome: stored, forbidden, unsigned, foreign, invalid, unavailable.",
    "kind",
    "outcome",
)
CALLBACK_SECONDS = _histogram("callback_seconds", "From the request to the answer of a stored callback.")

# Commands.
COMMANDS = _counter("commands", "Finished commands by outcome.", "command", "outcome")
COMMAND_SECONDS = _histogram("command_seconds", "From reading a command to its result being durable.", "command")
COMMANDS_IN_FLIGHT = _gauge("commands_in_flight", "Commands being executed by this process.")
COMMANDS_IN_DOUBT = _gauge("commands_in_doubt", "Commands sent whose answer is lost and not yet reconciled.")
COMMAND_LAG = _gauge("command_lag", "Commands in the topic that this process has not finished.", "command")

# Twilio.
TWILIO_REQUESTS = _counter(
    "twilio_requests",
    "Requests by connection, operation, HTTP status and error code.",
    "connection",
    "operation",
    "status",
    "code",
)
TWILIO_ANSWERS = _counter(
    "twilio_answers",
    "Requests by how they ended: accepted, refused, unauthorized, throttled, failed, missing.",
    "connection",
    "outcome",
)
TWILIO_REQUEST_SECONDS = _histogram("twilio_request_seconds", "Duration of requests to Twilio.", "operation")
TWILIO_CONCURRENCY_LIMIT = _gauge(
    "twilio_concurrency_limit", "The adaptive limit on concurrent requests.", "connection"
)
TWILIO_THROTTLED = _counter("twilio_throttled", "Answers 429.", "connection")
PACING_WAIT_SECONDS = _histogram("pacing_wait_seconds", "Time that requests waited for their turn.", "connection")

# Everything.
DEAD_LETTERS = _counter("dead_letters", "Records written to the dead letters, by stage.", "stage")
KAFKA_PRODUCE_SECONDS = _histogram(
    "kafka_produce_seconds", "From handing records to the client to the broker's acknowledgement."
)
ADMIN_REFUSED = _counter("admin_refused", "Requests that the admin port refused, by HTTP status.", "status")
OWNERS = _gauge("owners", "Partitions owned by this process.", "role")
BUILD_INFO = _gauge("build_info", "Always 1; the version is the label.", "version")
BUILD_INFO.labels(__version__).set(1)
ROLE_INFO = _gauge("role_info", "Always 1 for each role that this process has.", "role")
LOOP_LAG = _histogram("loop_lag_seconds", "How late the event loop runs what is due; measured twice a second.")
# process_cpu_seconds_total, process_resident_memory_bytes, process_open_fds … by their usual names; Linux only.
ProcessCollector(registry=REGISTRY)


def exposition(content_type: str = TEXT) -> bytes:
    """All metrics in the format of this content type (`connector.exposition`)."""
    return text(REGISTRY, content_type)


async def measure_loop() -> None:
    """Measure the delay of the event loop until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        seconds = until_next(LOOK_SECONDS)
        due = loop.time() + seconds
        await asyncio.sleep(seconds)
        LOOP_LAG.observe(max(0.0, loop.time() - due))


def logger(name: str) -> Any:
    """The structured logger of a module; call it with an event and fields: `log.info("polled", watch=…, rows=…)`."""
    return structlog.get_logger(name)


class Sampled:
    """Log lines that callers can cause at will: one of each kind every ten seconds, with the number left out since."""

    def __init__(self, log: Any, event: str) -> None:
        self._log = log
        self._event = event
        self._next: dict[tuple[Any, ...], float] = {}
        self._unsaid: dict[tuple[Any, ...], int] = {}

    def warning(self, **fields: Any) -> None:
        """Log a warning; lines with the same fields are of one kind."""
        self._tell(self._log.warning, fields)

    def error(self, *, exc_info: BaseException | None, **fields: Any) -> None:
        """The same as an error with its traceback."""
        self._tell(self._log.error, fields, exc_info=exc_info)

    def _tell(self, say: Any, fields: Mapping[str, Any], **more: Any) -> None:
        kind, moment = tuple(fields.values()), time.monotonic()
        if moment < self._next.get(kind, 0):
            self._unsaid[kind] = self._unsaid.get(kind, 0) + 1
            return
        if len(self._next) >= KINDS_REMEMBERED:
            self._next.clear()
            self._unsaid.clear()
        self._next[kind] = moment + SAMPLE_SECONDS
        say(self._event, **fields, unsaid=self._unsaid.pop(kind, 0), **more)


def said_by(**names: Any) -> AbstractContextManager[Any]:
    """Within it every line of the log has these fields; what is None is left out."""
    given = {name: value for name, value in names.items() if value is not None}
    return structlog.contextvars.bound_contextvars(**given)


def configure_logging(*, level: str = "info", style: Literal["auto", "console", "json"] = "auto") -> None:
    """Log to standard error: a console on a terminal, JSON lines otherwise. Libraries' warnings come the same way."""
    number = logging.getLevelNamesMapping()[level.upper()]
    console = style == "console" or (style == "auto" and sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        tracing.with_ids,
        structlog.processors.ExceptionRenderer(_trace),
    ]
    renderers: list[Any] = (
        [_visible, structlog.dev.ConsoleRenderer()] if console else [structlog.processors.JSONRenderer(_json)]
    )
    structlog.configure(
        processors=[*shared, *renderers],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[_without_meta, *renderers]),
    )
    logging.basicConfig(handlers=[handler], level=max(number, logging.WARNING), force=True)
    # aiokafka reports every reconnection attempt as an error; we log the transition and the recovery ourselves.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


def _without_meta(_logger: Any, _method: str, event: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: value for name, value in event.items() if name not in ("_record", "_from_structlog")}


def _visible(_logger: Any, _method: str, event: Mapping[str, Any]) -> Mapping[str, Any]:
    """Texts as a terminal may show them; what is no text is shown by its `repr`, which escapes as well."""
    shown = {name: visible(value) if isinstance(value, str) else value for name, value in event.items()}
    if isinstance(trace := event.get("exception"), str):
        shown["exception"] = visible_lines(trace)
    return shown


def _json(event: Any, **options: Any) -> str:
    """ASCII without controls: DEL is the only one that JSON lets through."""
    return json.dumps(event, **options).replace("\x7f", r"\u007f")


def unhandled(_loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """Log an exception that no task has awaited (a loop's handler); the default one quotes exceptions and tasks."""
    task = context.get("task") or context.get("future")
    name = task.get_name() if isinstance(task, asyncio.Task) else None
    logger(__name__).error("unhandled", reason=context["message"], task=name, exc_info=context.get("exception"))


def _trace(exc_info: ExcInfo) -> str:
    """Classes of an exception and of its causes, and where they were raised: what they say may be content."""
    return "".join(_raised(exc_info[1])).rstrip()


def _raised(error: BaseException | None) -> Iterator[str]:
    if error is None:
        return
    yield from _raised(error.__cause__ or (None if error.__suppress_context__ else error.__context__))
    yield f"{type(error).__qualname__}\n"
    yield from traceback.format_tb(error.__traceback__)
    for part in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
        yield from _raised(part)
