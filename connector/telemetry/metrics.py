"""Every metric, each with what it tells. Labels hold no number, SID or topic of a user."""

import asyncio

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics

from connector import __version__
from connector.process.rhythm import until_next
from connector.telemetry.exposition import TEXT, text

# prometheus_client adds a `_created` series to each counter and histogram; no dashboard or alert reads them.
disable_created_metrics()  # type: ignore[no-untyped-call]  # untyped in the library
REGISTRY = CollectorRegistry()
LOOK_SECONDS = 0.5

LATENCIES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


def _counter(name: str, documentation: str, *labels: str) -> Counter:
    return Counter(f"twilio_kafka_{name}", documentation, labels, registry=REGISTRY)


def _gauge(name: str, documentation: str, *labels: str) -> Gauge:
    return Gauge(f"twilio_kafka_{name}", documentation, labels, registry=REGISTRY)


def _histogram(name: str, documentation: str, *labels: str) -> Histogram:
    return Histogram(f"twilio_kafka_{name}", documentation, labels, registry=REGISTRY, buckets=LATENCIES)


# Watches. What is counted has the same outcomes in `connector.telemetry.baseline`, which starts the series at 0.
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
    """All metrics in the format of this content type (`connector.telemetry.exposition`)."""
    return text(REGISTRY, content_type)


async def measure_loop() -> None:
    """Measure the delay of the event loop until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        seconds = until_next(LOOK_SECONDS)
        due = loop.time() + seconds
        await asyncio.sleep(seconds)
        LOOP_LAG.observe(max(0.0, loop.time() - due))
