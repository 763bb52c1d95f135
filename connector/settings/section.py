"""What all sections of the configuration have in common: frozen, no unknown keys, all mistakes at once."""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address
from typing import Annotated, Any, Final, NamedTuple, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    PrivateAttr,
    SecretStr,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import ErrorDetails, core_schema

Path = tuple[str | int, ...]
"""Keys from the top of the configuration, list positions as integers."""


class Finding(NamedTuple):
    """Something wrong at a path: a sentence that says what, with which value, and the remedy."""

    path: Path
    sentence: str


class Unusable(Exception):
    """A rule has read a value that is wrong itself, which is reported already."""


def asked(*rules: Iterator[Finding]) -> Iterator[Finding]:
    """What the rules find. A rule ends at the first value that is wrong itself."""
    for rule in rules:
        with suppress(Unusable):
            yield from rule


class Section(BaseModel):
    """A mapping of the configuration. `findings` are its rules that take more than one key.

    Python code gets a ValidationError for a wrong value. With `context=LENIENT` a wrong section is made all the same:
    it keeps its `mistakes`, and reading a value that is wrong raises Unusable. So one validation finds everything.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    _mistakes: tuple[ErrorDetails, ...] = PrivateAttr(default=())

    @property
    def mistakes(self) -> tuple[ErrorDetails, ...]:
        """What pydantic says of the keys of this section that are wrong."""
        return self._mistakes

    def findings(self) -> Iterator[Finding]:
        """What is wrong between keys; paths are relative to this section."""
        return iter(())

    def __getattr__(self, name: str) -> Any:
        """A key that is wrong has no value."""
        if name in type(self).model_fields:
            raise Unusable(name)
        return super().__getattr__(name)  # type: ignore[misc]  # pydantic hides its own from type checkers

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, value: Any) -> Any:
        """A section without any key has its defaults; so has an optional key of empty text (`"${TWILIO_EDGE:-}"`)."""
        if not isinstance(value, dict):
            return {} if value is None else value
        optional = {info.alias or name for name, info in cls.model_fields.items() if info.default is None}
        return {key: item for key, item in value.items() if not (item == "" and key in optional)}

    @model_validator(mode="wrap")
    @classmethod
    def _consistent(cls, value: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        if info.context is LENIENT:
            try:
                return handler(value)
            except ValidationError as error:
                return cls._with_mistakes(value, error)
        section = handler(value)
        if found := tuple(section.findings()):
            raise ValueError("; ".join(finding.sentence for finding in found))
        return section

    @classmethod
    def _with_mistakes(cls, value: Any, error: ValidationError) -> Self:
        """The section with those of its keys that are right."""
        mistakes = tuple(error.errors(include_url=False))
        wrong = {details["loc"][:1] for details in mistakes}
        given = value if isinstance(value, dict) and () not in wrong else None
        known: dict[str, Any] = {}
        for name, info in cls.model_fields.items():
            key = info.alias or name
            if given is None or (key,) in wrong:
                continue
            try:
                known[name] = (
                    _reader(cls, name).validate_python(given[key], context=LENIENT)
                    if key in given
                    else info.get_default(call_default_factory=True, validated_data=known)
                )
            except (Unusable, KeyError):
                continue
        section = cls.model_construct(**{**dict.fromkeys(cls.model_fields), **known})
        for name in cls.model_fields.keys() - known.keys():
            section.__dict__.pop(name, None)
        section._mistakes = mistakes  # noqa: SLF001 - its own
        return section  # type: ignore[return-value]  # the plugin forgets Self


@cache
def _reader(section: type[Section], name: str) -> TypeAdapter[Any]:
    """Validates one key of a section by itself."""
    info = section.model_fields[name]
    kind: Any = Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
    return TypeAdapter(kind)


LENIENT: Final = {"lenient": True}
"""Validation context: wrong sections are made all the same, with their mistakes."""


@dataclass(frozen=True, slots=True)
class Matches:
    """Annotation: the whole text matches `pattern`; otherwise the sentence is the value followed by `otherwise`.

    What does not even begin with `begins` is not repeated: it may be a secret that has come to the wrong key.
    """

    pattern: str
    otherwise: str
    begins: str = ""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "pattern": f"^(?:{self.pattern})$"}

    def check(self, text: str) -> str:
        """The text itself. Raises ValueError."""
        if not re.fullmatch(self.pattern, text):
            shown = repr(text) if text.startswith(self.begins) else "the value"
            raise ValueError(f"{shown} {self.otherwise}")
        return text


def _stripped(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value


def split_list(value: Any) -> Any:
    """`a, b` and `[a, b]` are lists, whether they come from a variable or from the file; so are the lines of a file."""
    if not isinstance(value, str):
        return value
    inside = re.sub(r"^\s*\[(.*)\]\s*$", r"\1", value, flags=re.DOTALL)
    items = (item.strip() for item in re.split(r"[,\n]", inside))
    return tuple(item.strip("\"'") for item in items if item)


Split = BeforeValidator(split_list)
"""Annotation of a list: also accepted as comma-separated text."""

Credential = Annotated[SecretStr, BeforeValidator(_stripped), Field(min_length=1)]
"""A secret of Twilio's; white space around it, the new line of a mounted file above all, is not part of it."""

Port = Annotated[int, Field(ge=0, le=65535)]
"""A TCP port to listen on; 0 lets the system choose."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the host."""
    name = host.strip("[]").lower()
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def is_open_http(address: str | None) -> bool:
    """Whether the address sends what it carries over a network unencrypted."""
    parts = urlsplit(address or "")
    return parts.scheme == "http" and not is_loopback(parts.hostname or "")


def parse_address(text: str) -> str:
    """An absolute http or https address without query, fragment and credentials; a final slash is dropped.

    Raises ValueError. The sentence repeats the address only when it holds no credentials.
    """
    parts = _parts(text)
    if "@" in parts.netloc:
        raise ValueError("the address holds a user name or password: leave them out, and the @ with them")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{text!r} is not an absolute address: write it as https://host or https://host/path")
    if "?" in text or "#" in text:
        raise ValueError(f"{text!r} has a query or a fragment: leave out what begins with ? or #")
    return text.rstrip("/")


def _parts(text: str) -> SplitResult:
    if re.search(r"[\s\x00-\x1f\\]", text):
        raise ValueError("the address holds white space, a control character or a backslash: take it out")
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018  # the property raises for what is not a port
    except ValueError as error:
        raise ValueError(
            f"the address cannot be read ({error}): write it as https://host or https://host:port"
        ) from error
    return parts


def _has_no_underscore(address: str) -> str:
    host = urlsplit(address).hostname or ""
    if "_" in host:
        raise ValueError(f"{host!r} holds an underscore, which Twilio refuses (21609): use a host name without one")
    return address


Address = Annotated[str, AfterValidator(parse_address)]
"""Where requests go: http or https, host, perhaps a path."""

PublicAddress = Annotated[Address, AfterValidator(_has_no_underscore)]
"""An address that Twilio accepts for callbacks."""
