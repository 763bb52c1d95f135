"""What the simulator offers, read off its modules."""

import json
import re
from collections.abc import Iterator
from dataclasses import fields
from inspect import getsource

from connector.simulator import control
from connector.simulator.faults import KINDS, Fault
from connector.simulator.settings import Settings

FIELD = re.compile(
    r"^    (?P<name>\w+): [^=]+= (?P<default>.+?)(?:  # (?:noqa: \S+ - )?(?P<comment>.*))?$", re.MULTILINE
)


def faults() -> Iterator[str]:
    """The kinds of faults."""
    yield from ("| kind | effect | executed | answered |", "|---|---|---|---|")
    for name, kind in KINDS.items():
        yield f"| `{name}` | {kind.effect} | {_word(kind.executed)} | {_word(kind.answered)} |"


def _word(is_so: bool) -> str:  # noqa: FBT001 - the answer itself
    return "yes" if is_so else "no"


def fault_options() -> Iterator[str]:
    """What a fault may say beside its kind."""
    yield from ("| option | default | meaning |", "|---|---|---|")
    meanings = {
        "operation": "Which operations: a name or a pattern, such as `CreateMessage`, `List*` or `*`.",
        "probability": "The chance that it strikes a matching request.",
        "times": "How often it strikes; null: until it is cleared.",
        "skip": "So many matching requests pass first.",
        "match": 'Only requests with these parameter values, such as `{"To": "+15550100002"}`.',
        "status": "HTTP status of `error`, `error-after` and `odd-answer`.",
        "code": "Twilio's error code of `error` and `error-after`.",
        "html": "Answer a gateway's HTML page instead of Twilio's JSON.",
        "headers": "Headers that `odd-answer` adds or replaces.",
        "body": "What `odd-answer` answers instead; null: what would have been answered.",
        "swap": 'Parts of that body and what stands there instead, once each, such as `{"\\"body\\":\\"": "…"}`.',
        "seconds": "How long it waits, hides, or asks to wait; how far ahead a wrong date is.",
        "jitter": "So much more or less, by chance.",
        "rows": "How many rows are shown, or vanish.",
    }
    defaults = {item.name: item.default for item in fields(Fault)}
    defaults |= {"match": {}, "headers": {}, "swap": {}}
    for name, meaning in meanings.items():
        shown = defaults[name] if isinstance(defaults[name], str) else json.dumps(defaults[name])
        yield f"| `{name}` | `{shown}` | {meaning} |"


def routes() -> Iterator[str]:
    """The routes under `/_sim/`."""
    yield from (line for line in (control.__doc__ or "").splitlines() if line.startswith("|"))


def settings() -> Iterator[str]:
    """What can be tuned."""
    yield from ("| setting | default | meaning |", "|---|---|---|")
    known = {item.name for item in fields(Settings)}
    for found in FIELD.finditer(getsource(Settings)):
        name, default, comment = found["name"], found["default"], found["comment"] or ""
        if name in known:
            shown = re.sub(r"^field\(default_factory=(?:lambda: )?(.+)\)$", r"\1", default).replace("dict", "{}")
            yield f"| `{name}` | `{shown}` | {_sentence(comment)} |"


def _sentence(comment: str) -> str:
    text = comment.replace("|", "\\|")
    return text[:1].upper() + text[1:]
