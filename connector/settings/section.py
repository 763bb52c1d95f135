"""What all sections of the configuration have in common: frozen, no unknown keys, findings instead of one error."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated, Any, NamedTuple, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    SecretStr,
    model_validator,
)
from pydantic_core import PydanticCustomError, core_schema

Path = tuple[str | int, ...]
"""Keys from the top of the configuration, list positions as integers."""


class Finding(NamedTuple):
    """Something wrong at a path, as a sentence that says what, with which value, and the remedy.

    It would not hold if one of `because` had another value: while that one is wrong itself, nobody is told of this.
    """

    path: Path
    sentence: str
    because: tuple[Path, ...] = ()

    def below(self, path: Path) -> "Finding":
        """The same, seen from further up."""
        return Finding((*path, *self.path), self.sentence, tuple((*path, *cause) for cause in self.because))


class Section(BaseModel):
    """A mapping of the configuration. `findings` are its rules that take more than one key."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    def findings(self) -> Iterator[Finding]:
        """What is wrong between keys; paths are relative to this section."""
        return iter(())

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, value: Any) -> Any:
        """A section without any key has its defaults; so has an optional key of empty text (`"${TWILIO_EDGE:-}"`)."""
        if not isinstance(value, dict):
            return {} if value is None else value
        optional = {info.alias or name for name, info in cls.model_fields.items() if info.default is None}
        return {key: item for key, item in value.items() if not (item == "" and key in optional)}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if found := tuple(self.findings()):
            text = "; ".join(finding.sentence for finding in found)
            raise PydanticCustomError("inconsistent", "{text}", {"text": text, "findings": found})
        return self


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
