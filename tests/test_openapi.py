"""`call-api` beside Twilio's OpenAPI documents: what they know passes, anything else is named with what is nearest."""

import json
import subprocess
import sys
from pathlib import Path
from time import process_time
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.errors import Rejected
from connector.openapi import check, documents
from connector.openapi.documents import DATA, Operation, Value, document, hosts
from connector.openapi.paths import oddity
from connector.openapi.values import mistake
from connector.resources import COMMANDS
from connector.resources.commands import parse
from connector.resources.models import Pairs
from connector.schemas.documents import examples
from tests.contract.compact import compact
from tests.json_values import ANYTHING

OPENAPI = Path(__file__).parent / "contract" / "twilio_openapi.json"
ACCOUNT = "/2010-04-01/Accounts/{AccountSid}"
MESSAGES = f"{ACCOUNT}/Messages.json"
CALLS = f"{ACCOUNT}/Calls.json"
OTHER_ACCOUNT = f"/2010-04-01/Accounts/AC{'b' * 32}"
MESSAGE, CALL, RECORDING, VERIFY = (kind + "a" * 32 for kind in ("SM", "CA", "RE", "VA"))
SENT = {"To": "+15550100002", "From": "+15550100001", "Body": "hi"}
STRICT = '("strict": false sends it unchecked)'


def sentence_of(value: dict[str, Any]) -> str | None:
    """Why `call-api` is rejected."""
    try:
        parse(COMMANDS["call-api"], json.dumps(value).encode())
    except Rejected as error:
        return str(error)
    return None


def every() -> list[tuple[str, Operation]]:
    return [(host, operation) for host in hosts() for operation in document(host).operations]


EVERY = every()
IDS = [f"{host} {operation.name}" for host, operation in EVERY]


# --- the data ----------------------------------------------------------------------------------------------------
def test_the_data_is_what_the_script_makes_of_twilios_documents() -> None:
    extract = json.loads(OPENAPI.read_text())
    (made,) = compact({"any_v1": extract}, "here").values()
    found = {item["name"]: spelled(item, json.loads(made)["values"]) for item in json.loads(made)["operations"]}
    files = [json.loads(file.read_text()) for file in DATA.glob("*.json")]
    # A path may be that of several products.
    kept: dict[tuple[str, str], list[Any]] = {}
    for data in files:
        for item in data["operations"]:
            kept.setdefault((item["path"], item["method"]), []).append(spelled(item, data["values"]))
    assert len(found) > 40
    for item in found.values():
        assert item in kept[item["path"], item["method"]]


def spelled(item: dict[str, Any], values: list[Value]) -> dict[str, Any]:
    """An operation with its values instead of their numbers, and without what only whole documents tell."""
    told = {place: item[place] for place in documents.PLACES if place in item}
    places = {place: {name: values[number] for name, number in names.items()} for place, names in told.items()}
    unknown = {"json", "boolean"}
    kept = {
        place: {name: {key: spec[key] for key in spec if key not in unknown} for name, spec in names.items()}
        for place, names in places.items()
    }
    return {key: value for key, value in item.items() if key != "groups"} | kept


def test_the_data_is_small_and_read_in_no_time() -> None:
    assert sum(file.stat().st_size for file in DATA.glob("*.json")) < 150_000
    document.cache_clear()
    began = process_time()
    assert sum(len(document(host).operations) for host in hosts()) == len(EVERY) > 400
    assert process_time() - began < 0.5


def test_nothing_of_it_is_read_before_an_api_call_is() -> None:
    program = (
        "import connector.app; from connector.openapi.documents import document, hosts;"
        "assert document.cache_info().currsize == hosts.cache_info().currsize == 0;"
        "from connector.resources import COMMANDS; from connector.resources.commands import parse;"
        "parse(COMMANDS['call-api'], b'{\"url\": \"/2010-04-01/Accounts.json\"}');"
        "assert document.cache_info().currsize == 1"
    )
    subprocess.run([sys.executable, "-c", program], check=True)  # noqa: S603 - our own program


# --- what Twilio knows -------------------------------------------------------------------------------------------
def text_for(name: str, spec: Value) -> str:
    """A text that a segment of a path may be."""
    pattern = spec.get("pattern", "")
    if pattern.startswith("^[a-zA-Z]"):
        return "XX" + "0" * 32
    prefix = pattern.removeprefix("^").removeprefix("(")[:2]
    return f"{prefix}{'0' * 32}" if pattern else spec["enum"][0] if "enum" in spec else "7" if name else ""


def path_of(operation: Operation) -> str:
    path = operation.path
    for name, spec in operation.segments.items():
        path = path.replace(f"{{{name}}}", text_for(name, spec))
    return path


def value_for(spec: Value) -> Any:
    if "enum" in spec:
        return spec["enum"][0]
    if spec.get("type") == "array":
        return [value_for(spec["items"])]
    if spec.get("type") == "object" or "json" in spec:
        return {"a": "b"}
    return {"integer": spec.get("minimum", 1), "number": 1, "boolean": True}.get(
        spec.get("type", ""), "2026-11-24" if "format" in spec else text_for("x", spec)
    )


def full(host: str, operation: Operation) -> dict[str, Any]:
    """A call of the operation with every parameter."""
    fields = {name: value_for(spec) for name, spec in operation.fields.items()}
    value: dict[str, Any] = {
        "host": host,
        "method": operation.method,
        "url": path_of(operation),
        "query": {name: value_for(spec) for name, spec in operation.query.items()},
        "headers": {name: str(value_for(spec)) for name, spec in operation.headers.items()},
    }
    match operation.body:
        case "form":
            return value | {"body": fields}
        case "json":
            headers = value["headers"] | {"Content-Type": "application/json"}
            return value | {"headers": headers, "body": json.dumps(fields)}
    return value


def asked(value: dict[str, Any]) -> list[check.Mistake]:
    return list(
        check.mistakes(
            check.Request(**{"body": None, "query": {}, "headers": {}, "host": "api", "method": "GET"} | value)
        )
    )


@pytest.mark.parametrize(("host", "operation"), EVERY, ids=IDS)
def test_every_operation_passes_with_all_its_parameters_and_with_those_it_needs(
    host: str, operation: Operation
) -> None:
    value = full(host, operation)
    assert asked(value) == []
    groups = {group[0] for group in operation.groups}
    for place in ("query", "body"):
        if isinstance(value.get(place), dict):
            value[place] = {name: item for name, item in value[place].items() if name in operation.required | groups}
    assert asked(value) == []


@pytest.mark.parametrize(("host", "operation"), EVERY, ids=IDS)
def test_every_operation_is_refused_with_a_name_too_many_and_without_one_that_it_needs(
    host: str, operation: Operation
) -> None:
    value = full(host, operation)
    assert [found.field for found in asked(value | {"query": {**value["query"], "Favourite": 1}})] == ["query"]
    for name in operation.required if operation.body == "form" else ():
        less = {other: item for other, item in value["body"].items() if other != name}
        assert check.Mistake("body", f"lacks {name}") in asked(value | {"body": less})


@pytest.mark.parametrize(("host", "operation"), EVERY, ids=IDS)
def test_no_choice_passes_in_another_case(host: str, operation: Operation) -> None:
    for name, spec in {**operation.query, **operation.fields}.items():
        if "enum" in spec:
            first = spec["enum"][0]
            assert mistake(first.swapcase(), spec) == f"it must be {first}", (host, name)


def message(**changes: Any) -> dict[str, Any]:
    return {"url": MESSAGES, "method": "POST", "body": {**SENT, **changes}}


def call(**changes: Any) -> dict[str, Any]:
    return {"url": CALLS, "method": "POST", "body": {"To": "a", "From": "b", "Url": "c", **changes}}


def asks(**query: Any) -> dict[str, Any]:
    return {"url": MESSAGES, "query": query}


STREAM = {"Url": "wss://e.example", "Parameter1.Name": "a", "Parameter1.Value": "b", "Parameter99.Name": "c"}


@pytest.mark.parametrize(
    "value",
    [
        {"url": MESSAGES},
        {"url": f"{OTHER_ACCOUNT}/Messages.json"},
        {"url": f"{ACCOUNT}/Messages"},
        {"url": f"{ACCOUNT}/Messages.csv"},
        {"url": f"{ACCOUNT}.json"},
        {"url": f"{MESSAGES}?PageSize=50&Page=1&PageToken=PA{MESSAGE}&DateSent%3E=2026-11-01"},
        {"url": f"{MESSAGES}?DateSent>=2026-11-01T00:00:00Z"},
        {"url": f"{ACCOUNT}/Recordings/{RECORDING}.mp3"},
        {"url": f"{ACCOUNT}/Recordings/{RECORDING}"},
        {"url": f"{ACCOUNT}/Usage/Records/Daily.json", "query": {"StartDate": "-30days", "Category": "sms"}},
        {"url": f"{ACCOUNT}/IncomingPhoneNumbers/Local.json"},
        {"url": f"{ACCOUNT}/Conferences/a%20room.json", "method": "POST", "body": {"Status": "completed"}},
        {"url": f"{ACCOUNT}/Messages/{MESSAGE}.json", "method": "POST", "body": {"Body": ""}},
        {"url": f"{ACCOUNT}/Messages/{MESSAGE}.json", "method": "DELETE"},
        {"url": f"{ACCOUNT}/Calls/{CALL}/Streams.json", "method": "POST", "body": STREAM},
        {"url": MESSAGES, "method": "POST", "body": "To=%2B1&From=%2B2&Body=a&MediaUrl=b&MediaUrl=c"},
        {"url": "/v1/Alerts", "host": "monitor", "query": {"LogLevel": "error"}},
        asks(To=None, PageSize="20"),
        message(MediaUrl=["https://e.example/1", "https://e.example/2"]),
        message(MediaUrl="https://e.example/1", SmartEncoded="true"),
        message(Body=None, ContentSid=f"HX{'a' * 32}", ContentVariables={"1": "a"}),
        call(AsyncAmd=True, StatusCallbackEvent=["ringing", "completed"], MachineDetectionTimeout=5),
        call(RecordingStatusCallbackEvent="in-progress completed"),
    ],
    ids=lambda value: f"{value.get('method', 'GET')} {value['url'][:60]}",
)
def test_what_was_valid_stays_valid_where_twilio_documents_it(value: dict[str, Any]) -> None:
    assert sentence_of(value) is None


NO_PATH = "url is not a path that Twilio documents for api"


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"url": f"{ACCOUNT}/Mesages.json"}, f"{NO_PATH}, did you mean {MESSAGES}?"),
        ({"url": f"{ACCOUNT}/messages.json"}, f"{NO_PATH}, did you mean {MESSAGES}?"),
        ({"url": f"{ACCOUNT}/Messages/"}, f"{NO_PATH}, did you mean {MESSAGES}?"),
        ({"url": "/Accounts/{AccountSid}/Messages.json"}, f"{NO_PATH}, did you mean {MESSAGES}?"),
        ({"url": "/@evil.example.com/2010-04-01"}, NO_PATH),
        ({"url": "/x" * 400_000}, NO_PATH),
        ({"url": "/" + "x" * 900_000}, NO_PATH),
        ({"url": f"/v2/Services/{VERIFY}", "method": "DELETE"}, "url is a path of verify: give host verify"),
        ({"url": f"{ACCOUNT}/Messages/{CALL}.json"}, "url has a wrong Sid: it must be a SID, SM or MM and 32 hex"),
        ({"url": MESSAGES.replace("AccountSid", "accountsid")}, "url has a wrong AccountSid: it must be a SID, AC and"),
        ({"url": f"{ACCOUNT}/Messages/{{AccountSid}}.json"}, "url has a wrong Sid: it must be a SID, SM or MM"),
        ({"url": f"{ACCOUNT}/Messages/.json"}, "url has a wrong Sid"),
        ({"url": MESSAGES, "method": "DELETE"}, f"method must be GET or POST at {MESSAGES}"),
        ({"url": MESSAGES, "body": {"To": "x"}}, f"body is not taken by GET {MESSAGES}: leave it out"),
        ({"url": MESSAGES, "method": "POST", "query": SENT}, "query has To, which belongs into body; query has From"),
        ({"url": MESSAGES, "method": "POST"}, "body lacks To; body needs From or MessagingServiceSid; body needs Body"),
        (
            {"url": MESSAGES, "method": "POST", "body": "To=a&Boddy=c"},
            "CreateMessage does not know, did you mean Body?",
        ),
        (
            {"url": MESSAGES, "method": "POST", "headers": {"content-TYPE": "application/json"}, "body": "{}"},
            "headers has a wrong content-type: CreateMessage takes a form",
        ),
        ({"url": f"{MESSAGES}?PageSize=5000"}, "query has a wrong PageSize: it must be a whole number from 1 to 1000"),
        ({"url": f"{MESSAGES}?To=a", "query": {"To": "b"}}, "query has a wrong To: it must be one value, not a list"),
        (asks(to="x"), "query has to, which ListMessage does not know, did you mean To?"),
        (asks(DateSentAfter="x"), "query has DateSentAfter, which ListMessage does not know, did you mean DateSent"),
        (asks(**{"+15550100002 hi": 1}), "query has a name, which ListMessage does not know"),
        (asks(PageSize=True), "query has a wrong PageSize"),
        (asks(PageSize=20.5), "query has a wrong PageSize"),
        (asks(PageSize="9" * 100_000), "query has a wrong PageSize"),
        (asks(PageSize="٢٠"), "query has a wrong PageSize"),
        (asks(DateSent="yesterday"), "query has a wrong DateSent: it must be a day or a time such as 2026-11-24"),
        (asks(DateSent=">=2026-11-24"), "query has a wrong DateSent"),
        (asks(DateSent="2026-02-30"), "query has a wrong DateSent"),
        (message(To=None), "body lacks To"),
        (message(To=[None]), "body lacks To"),
        (message(To={"a": 1}), "body has a wrong To: it must be text, not an object"),
        (message(To=5), "body has a wrong To: it must be text"),
        (message(To=["a", "b"]), "body has a wrong To: it must be one value"),
        (message(MediaUrl=[["a"]]), "body has a wrong MediaUrl: each of it: it must not be a list once more"),
        (message(MediaUrl=["a", 5]), "body has a wrong MediaUrl: each of it: it must be text"),
        (message(ContentRetention="Retain"), "body has a wrong ContentRetention: it must be retain"),
        (message(ContentRetention=""), "body has a wrong ContentRetention: it must be retain or discard"),
        (message(SmartEncoded="True"), "body has a wrong SmartEncoded: it must be true or false"),
        (message(ForceDelivery=1), "body has a wrong ForceDelivery: it must be true or false"),
        (call(Method="get"), "body has a wrong Method: it must be GET"),
    ],
    ids=lambda item: str(item)[:80],
)
def test_what_twilio_does_not_document_is_rejected_with_what_is_nearest(value: dict[str, Any], sentence: str) -> None:
    said = sentence_of(value)
    assert said is not None
    assert sentence in said
    assert STRICT in said
    assert len(said.encode()) < 1_000
    assert sentence_of({**value, "strict": False}) is None


@pytest.mark.parametrize(
    "path",
    [
        *("/a//b", "/a/./b", "/a/../b", "/..", "/a/%2e%2e/b", "/a/%2E./b", "/a/..%2fb", "/a/%5c..%5cb", "/a/..;x/b"),
        *("/a/%252e%252e/b", "/a/%2f%2fb", "/a/b%00c", "/a/b%0d%0aHost:x", "/a/b%20c%7f"),
    ],
)
@pytest.mark.parametrize("strict", [True, False])
def test_a_path_that_servers_read_differently_is_rejected_even_unchecked(path: str, *, strict: bool) -> None:
    said = sentence_of({"url": path, "strict": strict})
    assert said is not None
    assert "url holds " in said
    assert STRICT not in said


@pytest.mark.parametrize("path", ["/a/b/", "/a/b.c/..d/e..", "/a/%2B1555", "/a/b%20c", "/@a/b:c"])
def test_a_plain_path_is_not_odd(path: str) -> None:
    assert oddity(path) is None


def test_no_more_mistakes_are_looked_for_than_are_told() -> None:
    said = sentence_of({"url": MESSAGES, "query": {f"Name{number}": [number] for number in range(50_000)}})
    assert said is not None
    assert said.count("does not know") == 5


SECRET = "+15550109999"
HOLDING = st.sampled_from([f"x {SECRET} x", [SECRET], {"a": SECRET}, {f"{SECRET}\n": 1}, f"{SECRET}0000"]) | ANYTHING


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(EVERY),
    st.dictionaries(st.sampled_from(("To", "From", "Body", "Status", "PageSize", SECRET)), HOLDING, max_size=5),
    st.sampled_from(["", f"/{SECRET}", f"?To={SECRET}&{SECRET}=1"]),
)
def test_whatever_stands_in_a_call_it_is_read_or_rejected_and_not_quoted(
    known: tuple[str, Operation], given: dict[str, Any], more: str
) -> None:
    host, operation = known
    for place in ("query", "body"):
        value = {"host": host, "url": path_of(operation) + more, "method": operation.method, place: given}
        assert SECRET[1:] not in (sentence_of(value) or "")


# --- our own rows ------------------------------------------------------------------------------------------------
# What only Twilio's own SDK knows.
SDK_ONLY = ("MessageIntent", "RecordingConfigurationId", "Passports")
OURS = [
    (key, name, value)
    for key, values in examples()["commands"].items()
    for name in [key.partition(" ")[0]]
    for value in values
    if name not in ("call-api", "download-recording")
]


def grouped(pairs: Pairs) -> dict[str, Any]:
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


@pytest.mark.parametrize(("name", "value"), [item[1:] for item in OURS], ids=[item[0] for item in OURS])
def test_every_request_of_our_own_rows_is_one_that_twilio_documents(name: str, value: dict[str, Any]) -> None:
    operation, parameters = parse(COMMANDS[name], orjson.dumps(value))
    request = operation.request(parameters)
    query, body = grouped(request.query), grouped(request.form or ())
    found = asked({"host": request.host, "method": request.method, "url": request.path, "query": query, "body": body})
    assert [one for one in found if not any(word in one.sentence for word in SDK_ONLY)] == []
