"""The rows of commands: what they ask of Twilio, and how a value is read, or rejected in one sentence. Pure."""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import islice
from typing import Any, Literal, NamedTuple

import orjson
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from connector.errors import Rejected, bounded, listed
from connector.resources.hosts import Host
from connector.resources.models import Bundle, Pairs, Parameters, public_names, snake, wire_pairs, wire_value
from connector.resources.models import listed as listed_names
from connector.resources.rows import MAX_PAGE_SIZE, SCHEMAS, Request

Answer = Literal["one", "many", "none", "binary", "raw"]

# What is shown of the name of an unknown field; another one may be content that has come to the wrong place.
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\[\]-]{0,39}")
# Beyond so many mistakes they are counted, and only the first are put into words; so many members of a list or object
# are looked at for them.
MOST_MISTAKES = 100
LOOKED_AT = 20

# pydantic's word for the error -> ours; the rest is said in pydantic's words. None of them quotes the value.
SENTENCES: Mapping[str, str] = {
    "missing": "is missing",
    "string_type": "must be text",
    "int_type": "must be an integer",
    "int_from_float": "must be an integer",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "string_too_long": "is longer than {max_length} characters",
    "string_too_short": "is shorter than {min_length} characters",
    "string_pattern_mismatch": "does not fit {pattern}",
    "too_long": "has more than {max_length} entries",
    "too_short": "has fewer than {min_length} entries",
    "greater_than_equal": "is less than {ge}",
    "less_than_equal": "is greater than {le}",
    "literal_error": "is not {expected}",
    "timezone_aware": "lacks its offset from UTC: write 2026-11-24T12:00:00Z",
    "datetime_from_date_parsing": "must be a time such as 2026-11-24T12:00:00Z",
    "datetime_parsing": "must be a time such as 2026-11-24T12:00:00Z",
    "datetime_type": "must be a time such as 2026-11-24T12:00:00Z",
    "date_type": "must be a day such as 2026-11-24",
    "date_parsing": "must be a day such as 2026-11-24",
    "date_from_datetime_parsing": "must be a day such as 2026-11-24",
}


@dataclass(frozen=True, slots=True)
class Ready:
    """What must be so before the operation makes sense: the resource at `path` leaves these states."""

    path: str
    pending: frozenset[str]
    status: str = "status"


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """How to find out whether an ambiguous create was executed (facts, section 8).

    `path` and `items` name the list, `filters` the parameters to ask it by (parameter -> wire name; unset ones are left
    out), `compared` the parameters that must equal a field of the row (parameter -> field), `fixed` what else a
    row of ours shows. `unfiltered`: a parameter is no filter when the other is set (parameter -> other). `masks` writes
    a filter's value (parameter -> format). `blurred`: a parameter is not compared when another has this value, since
    Twilio then stores something else (parameter -> {other: value}). `order` are further parameters of the list that
    bring the newest rows first; `page_size` is the largest that it allows, up to 200.
    """

    path: str
    items: str
    filters: Mapping[str, str]
    compared: Mapping[str, str]
    fixed: Mapping[str, str] = field(default_factory=dict)
    unfiltered: Mapping[str, str] = field(default_factory=dict)
    masks: Mapping[str, str] = field(default_factory=dict)
    blurred: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    order: Pairs = ()
    page_size: int = 200

    def list_path(self, parameters: Parameters) -> str:
        """The list's path, with the parameters that name its parents."""
        return re.sub(r"{([a-z_]+)}", lambda name: str(getattr(parameters, name[1])), self.path)

    def asked(self, parameters: Parameters) -> Pairs:
        """The whole query of a page."""
        return (*self.query(parameters), *self.order, ("PageSize", str(self.page_size)))

    def query(self, parameters: Parameters) -> Pairs:
        """The filters of the list that would show what these parameters created."""
        pairs: list[tuple[str, str]] = []
        for name, asked in self.filters.items():
            value = getattr(parameters, name)
            if value is None or self._is_unfiltered(name, parameters):
                continue
            text = value if isinstance(value, str) else wire_value(value)
            pairs.append((asked, self.masks.get(name, "{}").format(text)))
        return tuple(pairs)

    def matches(self, parameters: Parameters, row: Mapping[str, Any]) -> bool:
        """Whether the row may be what these parameters created; its age and other claims are the caller's to judge."""
        if any(row.get(name) != value for name, value in self.fixed.items()):
            return False
        compared = {name: shown for name, shown in self.compared.items() if not self._is_blurred(name, parameters)}
        values = {name: getattr(parameters, name) for name in compared}
        return all(row.get(compared[name]) == wire_value(value) for name, value in values.items() if value is not None)

    def _is_unfiltered(self, name: str, parameters: Parameters) -> bool:
        return name in self.unfiltered and getattr(parameters, self.unfiltered[name]) is not None

    def _is_blurred(self, name: str, parameters: Parameters) -> bool:
        return any(getattr(parameters, other) == value for other, value in self.blurred.get(name, {}).items())


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of Twilio's API as a command makes it. `name` is Twilio's operationId.

    `repeatable`: sending it again does no harm; `repeats` decides it by the parameters. `nested` gives another path
    when a parent is given (parameter -> path). `callbacks` names the parameters that get our callback URL unless given
    (parameter -> kind); where `callback_needs` names another parameter, only if that is set; with `callback_defaults`
    (parameter -> further parameters and values). `unless` switches it off when one of these is set.
    `delay_codes` are refusals that pass with time, `done_codes` refusals that mean "was already so",
    `repeat_done_codes` those that mean it only after an earlier try that may have been executed.
    """

    name: str
    parameters: type[Parameters]
    method: str
    path: str
    answer: Answer = "one"
    bundle: type[Bundle] | None = None
    items: str = ""
    repeatable: bool = False
    host: Host = "api"
    callbacks: Mapping[str, str] = field(default_factory=dict)
    unless: frozenset[str] = frozenset()
    reconciliation: Reconciliation | None = None
    delay_codes: frozenset[int] = frozenset()
    done_codes: frozenset[int] = frozenset()
    build: "Callable[[Operation, Parameters], Request] | None" = None
    nested: Mapping[str, str] = field(default_factory=dict)
    callback_needs: Mapping[str, str] = field(default_factory=dict)
    callback_defaults: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    repeats: Callable[[Parameters], bool] | None = None
    repeat_done_codes: frozenset[int] = frozenset()
    ready: Ready | None = None

    def fill_callbacks(self, parameters: Parameters, urls: Callable[[str], str]) -> Parameters:
        """The parameters with our callback URLs where the caller said nothing; `urls` gives the URL of a kind.

        An explicit null opts out, as does a parameter that takes the callbacks elsewhere (`unless`).
        """
        given = parameters.model_fields_set
        if any(getattr(parameters, name) is not None for name in self.unless):
            return parameters
        filled: dict[str, Any] = {}
        for name, kind in self.callbacks.items():
            needed = self.callback_needs.get(name)
            if name in given or (needed is not None and not getattr(parameters, needed)):
                continue
            defaults = self.callback_defaults.get(name, {})
            filled |= {other: default for other, default in defaults.items() if other not in given}
            filled[name] = urls(kind)
        return parameters.model_copy(update=filled)

    def may_repeat(self, parameters: Parameters) -> bool:
        """Whether sending these parameters twice does no more than sending them once."""
        return self.repeatable if self.repeats is None else self.repeats(parameters)

    def fingerprint(self, parameters: Parameters) -> str:
        """Equal for creates which cannot be told apart in Twilio's list; empty where there is none to look in."""
        row = self.reconciliation
        if row is None:
            return ""
        compared = [str(getattr(parameters, name)) for name in sorted(row.compared)]
        state = orjson.dumps([self.name, row.query(parameters), compared])
        return hashlib.blake2s(state, digest_size=8).hexdigest()

    def request(self, parameters: Parameters) -> Request:
        """The request that these parameters make."""
        if self.build is not None:
            return self.build(self, parameters)
        path = next((path for name, path in self.nested.items() if getattr(parameters, name) is not None), self.path)
        in_path = frozenset(re.findall(r"{([a-z_]+)}", path))
        for name in in_path:
            path = path.replace(f"{{{name}}}", str(getattr(parameters, name)))
        pairs = wire_pairs(parameters, without=in_path)
        if self.answer == "many":
            pairs += (("PageSize", str(min(getattr(parameters, "limit", None) or MAX_PAGE_SIZE, MAX_PAGE_SIZE))),)
        has_form = self.method == "POST"
        return Request(
            method=self.method,
            path=path,
            query=() if has_form else pairs,
            form=pairs if has_form else None,
            host=self.host,
            operation=self.name,
        )


@dataclass(frozen=True, slots=True)
class Command:
    """A command topic: one operation, or one for each value of `resource`."""

    name: str
    operations: Mapping[str | None, Operation]

    @property
    def dataschema(self) -> str:
        """The address of the results' schema."""
        return f"{SCHEMAS}/results/{self.name}.json"


def parse(command: Command, value: bytes | None) -> tuple[Operation, Parameters]:
    """The operation that the value means, and its validated parameters.

    Raises Rejected with one sentence that names the fields and never quotes their content.
    """
    given = _object(command, value)
    operation = _operation(command, given)
    try:
        # From the bytes once more: strictness is JSON's then, where a time is a text.
        return operation, operation.parameters.model_validate_json(value or b"", strict=True)
    except ValidationError as error:
        raise Rejected(f"{command.name}: {_sentences(error, operation.parameters, given)}") from None


class Mistake(NamedTuple):
    """What is wrong with a value: the field, empty where it is not one alone, and a sentence that names it."""

    field: str
    sentence: str


def mistakes(command: Command, value: bytes | None) -> list[Mistake]:
    """Everything that makes `parse` reject this value, by field; at most so many as are put into words."""
    try:
        given = _object(command, value)
        model = _operation(command, given).parameters
        model.model_validate_json(value or b"", strict=True)
    except Rejected as error:
        return [Mistake("", str(error))]
    except ValidationError as error:
        if error.error_count() > MOST_MISTAKES:
            return [Mistake("", f"{command.name}: {_sentences(error, model, given)}")]
        found = error.errors(include_url=False, include_context=True, include_input=False)
        faults = (Mistake(_field(item), _sentence(item, model)) for item in found)
        return list(dict.fromkeys(faults))
    return []


def _field(found: ErrorDetails) -> str:
    """The parameter that a mistake is about, as callers write it."""
    name = str(found["loc"][0]) if found["loc"] else ""
    return name if NAME.fullmatch(name) else ""


def _sentences(error: ValidationError, model: type[Parameters], given: Mapping[str, Any]) -> str:
    """What is wrong, in one bounded sentence."""
    total = error.error_count()
    if total <= MOST_MISTAKES:
        sentences = list(dict.fromkeys(_worded(error, model)))
        faults = listed(sentences)
    else:
        # Half a million mistakes fit a record; to describe them all would take seconds.
        faults = listed(_first_mistakes(model, given), total)
    return bounded(faults if faults.endswith("?") else f"{faults}.")


def _worded(error: ValidationError, model: type[Parameters]) -> list[str]:
    found = error.errors(include_url=False, include_context=True, include_input=False)
    return [_sentence(item, model) for item in found]


def _first_mistakes(model: type[Parameters], given: Mapping[str, Any]) -> list[str]:
    """The mistakes in the beginning of each list and object."""
    known = set(public_names(model).values()) | set(public_names(model))
    unknown = list(islice((name for name in given if name not in known), LOOKED_AT))
    short = {name: _beginning(item) for name, item in given.items() if name in known} | dict.fromkeys(unknown)
    try:
        model.model_validate_json(orjson.dumps(short), strict=True)
    except ValidationError as error:
        return _worded(error, model)
    return []


def _beginning(value: Any) -> Any:
    if isinstance(value, list):
        return value[:LOOKED_AT]
    return dict(islice(value.items(), LOOKED_AT)) if isinstance(value, dict) else value


def _object(command: Command, value: bytes | None) -> Mapping[str, Any]:
    if not value:
        raise Rejected(f"{command.name}: the value is empty; it must be a JSON object.")
    try:
        given = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise Rejected(f"{command.name}: the value is not JSON ({error.msg}).") from None
    if not isinstance(given, dict):
        raise Rejected(f"{command.name}: the value must be a JSON object.")
    return given


def _operation(command: Command, given: Mapping[str, Any]) -> Operation:
    if None in command.operations:
        return command.operations[None]
    named = {str(name): operation for name, operation in command.operations.items()}
    known = listed_names(tuple(sorted(named)), "or")
    resource = given.get("resource")
    if resource is None:
        raise Rejected(f"{command.name}: resource is missing, one of {known}.")
    if not isinstance(resource, str) or resource not in named:
        hint = _nearest(resource, named) if isinstance(resource, str) else None
        meant = f"did you mean {hint}?" if hint else f"one of {known} is expected."
        raise Rejected(f"{command.name}: resource is unknown, {meant}")
    return named[resource]


def _sentence(found: ErrorDetails, model: type[Parameters]) -> str:
    """`media_url[3] is not an absolute http or https URL`."""
    name = _path(found["loc"])
    context = found.get("ctx", {})
    match found["type"]:
        case "extra_forbidden":
            if not NAME.fullmatch(name):
                return "a field is unknown"
            nearest = _nearest(snake(name), public_names(model).values())
            return f"{name} is unknown" + (f", did you mean {nearest}?" if nearest else "")
        case "value_error":
            return f"{name} {context['error']}".strip()
        case kind if kind in SENTENCES:
            return f"{name} {SENTENCES[kind].format(**context)}"
        case _:
            return f"{name}: {found['msg'][:1].lower()}{found['msg'][1:]}"


def _path(location: tuple[int | str, ...]) -> str:
    """`media_url[3]`. What is not a name may be content: it is not shown, unless it stands alone."""
    if len(location) == 1:
        return str(location[0])
    return "".join(_part(part) for part in location).removeprefix(".")


def _part(part: int | str) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return f".{part}" if NAME.fullmatch(part) else "[…]"


def _nearest(name: str, known: Iterable[str]) -> str | None:
    """The name that was meant. Comparing takes long for long names, and none is long."""
    if not NAME.fullmatch(name):
        return None
    return next(iter(get_close_matches(name, list(known), n=1)), None)
