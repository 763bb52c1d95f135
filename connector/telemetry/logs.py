"""The log: its set-up, its loggers, and lines that are sampled. What is logged holds no body, full number or token."""

import asyncio
import json
import logging
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Literal

from connector.telemetry import tracing
from connector.telemetry.bare_structlog import ExcInfo, structlog
from connector.terminal import visible, visible_lines

SAMPLE_SECONDS = 10.0
KINDS_REMEMBERED = 1_000


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
