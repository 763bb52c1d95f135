"""`call-api`: any request to the connection's own hosts, with its credentials, as Twilio documents it. Facts: 3.11."""

import re
from collections.abc import Mapping
from itertools import islice
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, ValidationError, WithJsonSchema, model_validator
from pydantic_core import InitErrorDetails

from connector.openapi import check
from connector.openapi.paths import oddity
from connector.openapi.values import nearest
from connector.resources.commands import Operation
from connector.resources.fields import Shape
from connector.resources.hosts import HOSTS, Host
from connector.resources.rows import Pairs, Parameters, Request, wire_value

# So many mistakes are told of one request; to look for all would take long.
MOST_MISTAKES = 5

# Ours or the transport's to say.
REFUSED_HEADERS = (
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "host",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
)
_EITHER_CASE = "|".join("".join(f"[{c.upper()}{c}]" if c.isalpha() else c for c in name) for name in REFUSED_HEADERS)
HEADER_NAME = rf"^(?!(?:{_EITHER_CASE})$)[!#$%&'*+.^_`|~0-9A-Za-z-]+$"
HEADER_VALUE = r"^[^\x00-\x08\x0a-\x1f\x7f]*$"


def _sendable(headers: dict[str, str] | None) -> dict[str, str] | None:
    for name, value in (headers or {}).items():
        if name.lower() in REFUSED_HEADERS:
            raise ValueError(f"must not hold {name}: it is not a command's to set")
        if not re.fullmatch(HEADER_NAME, name) or not re.fullmatch(HEADER_VALUE, value):
            raise ValueError("must not hold control characters, nor names that HTTP does not allow")
    return headers


def _host(name: Any) -> Any:
    if name not in HOSTS:
        meant = nearest(name, HOSTS) if isinstance(name, str) else None
        raise ValueError("is not a host of Twilio's" + (f", did you mean {meant}?" if meant else ", such as verify"))
    return name


def _path(url: str) -> str:
    if (odd := oddity(url.partition("?")[0])) is not None:
        raise ValueError(odd)
    return url


def _body(value: Any) -> Any:
    if not isinstance(value, dict | str | None):
        raise ValueError("is neither an object nor a text")  # noqa: TRY004 - pydantic reports ValueError
    return value


class CallApi(Parameters):
    """Parameters of `call-api`: the host and the credentials are the connection's."""

    url: Annotated[
        str,
        Shape(r"^/(?!/)[^\s\\#]*$", "a path such as /2010-04-01/Accounts.json: the host is the connection's"),
        AfterValidator(_path),
        Field(description="Path, and query if any; {AccountSid} stands for the connection's account."),
    ]
    host: Annotated[
        Host,
        BeforeValidator(_host),
        WithJsonSchema({"type": "string", "enum": HOSTS}),
        Field(description="Which of Twilio's hosts: verify is verify.twilio.com."),
    ] = "api"
    method: Annotated[Literal["GET", "POST", "PUT", "PATCH", "DELETE"], Field(description="HTTP method.")] = "GET"
    headers: Annotated[
        dict[str, str] | None,
        AfterValidator(_sendable),
        Field(
            description="Further headers; Authorization and Host cannot be set.",
            json_schema_extra={
                "propertyNames": {"pattern": HEADER_NAME},
                "additionalProperties": {"type": "string", "pattern": HEADER_VALUE},
            },
        ),
    ] = None
    query: Annotated[
        dict[str, JsonValue] | None, Field(description="Query parameters; a list repeats its name, null leaves it out.")
    ] = None
    body: Annotated[
        dict[str, JsonValue] | str | None,
        BeforeValidator(_body),
        Field(description="An object is sent as a form, a text as it is, with the given content-type; none with GET."),
    ] = None
    strict: Annotated[
        bool,
        Field(description="Reject what Twilio's OpenAPI documents do not know; false sends it as it is, unchecked."),
    ] = True

    @model_validator(mode="after")
    def _is_documented(self) -> Self:
        if not self.strict:
            return self
        asked = check.Request(self.host, self.method, self.url, self.query or {}, self.headers or {}, self.body)
        if found := list(islice(check.mistakes(asked), MOST_MISTAKES)):
            raise _wrong(found)
        return self


def _wrong(found: list[check.Mistake]) -> ValidationError:
    """The mistakes as pydantic tells them, the last one with the way around them."""
    *most, last = found
    told = [*most, last._replace(sentence=f'{last.sentence} ("strict": false sends it unchecked)')]
    lines = [
        InitErrorDetails(type="value_error", loc=(field,), input=None, ctx={"error": sentence})
        for field, sentence in told
    ]
    return ValidationError.from_exception_data(CallApi.__name__, lines)


def pairs(values: Mapping[str, Any]) -> Pairs:
    """Names and texts: a list repeats its name, null is left out, an object is written as JSON."""
    items = [(name, value if isinstance(value, list) else [value]) for name, value in values.items()]
    return tuple((name, wire_value(item)) for name, found in items for item in found if item is not None)


def request(operation: Operation, parameters: Parameters) -> Request:
    """The request; GET never has a body, since Twilio refuses one (facts: 2.1)."""
    given = parameters.model_dump()
    body = None if given["method"] == "GET" else given["body"]
    return Request(
        method=given["method"],
        path=given["url"],
        query=pairs(given["query"] or {}),
        form=pairs(body) if isinstance(body, dict) else None,
        body=body.encode() if isinstance(body, str) else None,
        headers=tuple((given["headers"] or {}).items()),
        host=operation.host,
        operation=operation.name,
    )


def _repeats(parameters: Parameters) -> bool:
    """HTTP's idempotent methods; a POST or PATCH may create something, and nothing could tell whether it did."""
    return getattr(parameters, "method", "POST") in {"GET", "PUT", "DELETE"}


CALL = Operation(
    name="CallApi",
    parameters=CallApi,
    method="GET",
    path="",
    answer="raw",
    build=request,
    repeats=_repeats,
)

OPERATIONS = {"call-api": {None: CALL}}
