"""Odd commands: what a careless or hostile producer may write to a command topic, as a table.

Each must come to exactly one result, and must harm none of its neighbours.
"""

import struct
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from aiokafka.structs import RecordMetadata

from connector.simulator import OTHER_PHONE_NUMBER, PHONE_NUMBER

# What a topic takes by default, less what Kafka and the headers need.
LARGE = 1_000_000
SUCCEEDED = frozenset({"succeeded"})
REJECTED = frozenset({"rejected"})

Headers = Sequence[tuple[str | bytes, bytes | None]]
"""Names are bytes where they are not UTF-8."""


@dataclass(frozen=True, slots=True)
class OddCommand:
    """A record for the topic of `command`; `outcomes` are those that are right, `timestamp` is in milliseconds."""

    name: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    timestamp: int | None = None
    command: str = "send-message"
    outcomes: frozenset[str] = REJECTED


def _message(**more: Any) -> bytes:
    return orjson.dumps({"to": OTHER_PHONE_NUMBER, "from": PHONE_NUMBER, "body": "odd", **more})


def _raw(members: str) -> bytes:
    """A message with further members, written by hand."""
    return _message()[:-1] + b"," + members.encode() + b"}"


def odd_commands(prefix: str, run: int = 0) -> list[OddCommand]:
    """The table. `prefix` is that of our topics; ids of another `run` are other ids."""
    return [
        *_odd_values(),
        *_odd_json(),
        *_odd_keys(),
        *_odd_ids(run),
        *_odd_headers(prefix, run),
        *_odd_times(),
        *_odd_parameters(),
    ]


def _odd_values() -> list[OddCommand]:
    values = {
        "tombstone": None,
        "empty": b"",
        "blank": b" \n\t ",
        "zeros": b"\0" * 100,
        "not JSON": b"send it, please",
        "not JSON, large": b"x" * LARGE,
        "binary": bytes(range(256)) * 100,
        "a list": b"[]",
        "a number": b"17",
        "null": b"null",
        "a text": b'"hello"',
        "XML": b"<Response><Message>Hello</Message></Response>",
        "a form": b"To=%2B15550100002&From=%2B15550100001&Body=Hello",
        "byte order mark": b"\xef\xbb\xbf" + _message(),
        "UTF-16": _message().decode().encode("utf-16"),
        "Latin-1": _message(body="").replace(b'"body":""', b'"body":"caf\xe9"'),
        "schema registry's frame": b"\0\0\0\0\1" + _message(),
    }
    return [OddCommand(f"value: {name}", b"odd", value) for name, value in values.items()]


def _odd_json() -> list[OddCommand]:
    rejected = {
        "nested 10,000 deep": b"[" * 10_000 + b"]" * 10_000,
        "objects 10,000 deep": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        "NaN": _raw('"max_price":NaN'),
        "infinity": _raw('"max_price":1e999'),
        "5,000 digits": _raw(f'"validity_period":{"1" * 5_000}'),
        "half a surrogate pair": _raw(r'"body":"cut \ud83d"'),
        "ends early": _message()[:-1],
        "two documents": _message() + _message(),
        "30,000 mistakes": _message(persistent_action=[1] * 30_000),
        "450,000 mistakes": _message(persistent_action=[1] * 450_000),
        "60,000 unknown fields": orjson.dumps({f"field_{number}": 1 for number in range(60_000)}),
        "an unknown field of 900 kB": _raw(f'"{"x" * 900_000}":1'),
        "an unknown field of control characters": _raw(r'"\u001b]0;title\u0007\u202e":1'),
        "a number of 900 kB": _message(to="+" + "1" * 900_000),
    }
    succeeded = {
        "the same name twice": _raw('"body":"second"'),
        "blanks of 900 kB": b" " * 900_000 + _message(),
    }
    return [
        *(OddCommand(f"JSON: {name}", b"odd", value) for name, value in rejected.items()),
        *(OddCommand(f"JSON: {name}", b"odd", value, outcomes=SUCCEEDED) for name, value in succeeded.items()),
        OddCommand(
            "JSON: 40 digits", b"odd", _raw(f'"attempt":{"1" * 40}'), outcomes=frozenset({"succeeded", "failed"})
        ),
    ]


def _odd_keys() -> list[OddCommand]:
    keys = {
        "64 kB": b"k" * 65_536,
        "900 kB": b"k" * 900_000,
        "empty": b"",
        "binary": bytes(range(256)),
        "zeros": b"\0\0\0\0",
    }
    return [
        *(OddCommand(f"key: {name}", key, _message(), outcomes=SUCCEEDED) for name, key in keys.items()),
        OddCommand("key: 900 kB and a mistake", b"k" * 900_000, b"{}"),
        OddCommand("key: none, and no value", None, None),
    ]


def _odd_ids(run: int) -> list[OddCommand]:
    number = struct.Struct(">q").pack
    succeeded: dict[str, Headers] = {
        "long 128": [("id", number(1024 * run + 128))],
        "long 129": [("id", number(1024 * run + 129))],
        "long 130": [("id", number(1024 * run + 130))],
        "raw UUID": [("id", uuid.uuid5(uuid.NAMESPACE_OID, f"raw {run}").bytes)],
        "terminal codes": [("id", f"\x1b]0;title\x07\u202e{run}".encode())],
        "twice": [("id", f"first-{run}".encode()), ("id", f"second-{run}".encode())],
        "two names": [("ce_id", f"other-{run}".encode()), ("id", f"one-{run}".encode())],
        "empty": [("id", b"")],
        "null": [("id", None)],
        "of URL characters": [("id", f"a&command=b#c?{run}".encode())],
        "256 characters": [("id", f"{run:0>256}".encode())],
    }
    rejected: dict[str, Headers] = {
        "257 characters": [("id", b"x" * 257)],
        "900 kB": [("id", b"x" * 900_000)],
        "900 kB of bytes": [("id", b"\xff" * 900_000)],
    }
    return [
        *(
            OddCommand(f"id: {name}", b"ids", _message(), headers, outcomes=SUCCEEDED)
            for name, headers in succeeded.items()
        ),
        *(OddCommand(f"id: {name}", b"ids", _message(), headers) for name, headers in rejected.items()),
        OddCommand("id: long, no key", None, _message(), [("id", number(1024 * run + 131))], outcomes=SUCCEEDED),
    ]


def _odd_headers(prefix: str, run: int) -> list[OddCommand]:
    succeeded: dict[str, Headers] = {
        "10,000": [(f"header-{number}", b"x") for number in range(10_000)],
        "one of 900 kB": [("foreign", b"x" * 900_000)],
        "a name of 900 kB": [("x" * 900_000, b"")],
        "a name that is not UTF-8": [(b"\xff\xfe", b"x")],
        "a name of control characters": [("\x1b[31m\n", b"x")],
        "an empty name": [("", b"")],
        "null": [("foreign", None)],
        "a dead letter's": [("dlq.errors.topic", b"elsewhere"), ("dlq.errors.message", b"x" * 100_000)],
        "a replay's": [("id", f"replayed-{run}".encode()), ("dlq.replay.count", b"9" * 100)],
        "a forged origin": [("forwarded-from", b"0/99999")],
        "Spring's correlation": [("kafka_correlationId", uuid.uuid5(uuid.NAMESPACE_OID, f"spring {run}").bytes)],
        "rubbish as trace": [("traceparent", b"\xff" * 100)],
    }
    rejected: dict[str, Headers] = {
        "correlation of 900 kB": [("correlation-id", b"x" * 900_000)],
        "Spring's correlation of 900 kB": [("kafka_correlationId", b"\xff" * 900_000)],
        "unknown connection": [("connection", b"nobody")],
        "connection of odd bytes": [("connection", b"default\xff")],
        "connection of 900 kB": [("connection", b"x" * 900_000)],
        "reply to the journal": [("reply-to", f"{prefix}.journal".encode())],
        "reply to the commands": [("reply-to", f"{prefix}.commands.send-message".encode())],
        "reply to nothing": [("reply-to", b"not.a.topic")],
        "reply to odd bytes": [("reply-to", b"\xff\xfe")],
        "reply to 900 kB": [("reply-to", b"x" * 900_000)],
        "Spring's reply to the journal": [("kafka_replyTopic", f"{prefix}.journal".encode())],
        "expires at no time": [("expires-at", b"soon")],
        "expires at odd bytes": [("expires-at", b"\xff\xfe")],
        "expires in 900 kB": [("expires-at", b"2" * 900_000)],
    }
    return [
        *(
            OddCommand(f"header: {name}", b"odd", _message(), found, outcomes=SUCCEEDED)
            for name, found in succeeded.items()
        ),
        *(OddCommand(f"header: {name}", b"odd", _message(), found) for name, found in rejected.items()),
        OddCommand("header: 10,000 and a mistake", b"odd", b"{}", succeeded["10,000"]),
        OddCommand("header: one of 900 kB and a mistake", b"odd", b"{}", succeeded["one of 900 kB"]),
        OddCommand("header: a name that is not UTF-8 and a mistake", b"odd", b"{}", [(b"\xff\xfe", b"x")]),
        OddCommand(
            "header: expired",
            b"odd",
            _message(),
            [("expires-at", b"2020-01-01T00:00:00Z")],
            outcomes=frozenset({"expired"}),
        ),
    ]


def _odd_times() -> list[OddCommand]:
    # One more than an hour ahead is refused by brokers.
    times = {"1970": 1, "none": -1, "before 1970": -(10**12), "ahead": int(time.time() + 3_000) * 1000}
    return [
        OddCommand(f"timestamp: {name}", b"odd", _message(), timestamp=moment, outcomes=SUCCEEDED)
        for name, moment in times.items()
    ]


def _odd_parameters() -> list[OddCommand]:
    rejected = {
        "a body of 900 kB": _message(body="x" * 900_000),
        "a list as body": _message(body=["x"]),
        "content variables that are no JSON": _message(content_sid="HX" + "a" * 32, content_variables="{", body=None),
        "a hundred media": _message(media_url=["https://example.com/a.jpg"] * 100),
    }
    calls = {
        "another host": {"url": "//evil.example/"},
        "a path of 900 kB": {"url": "/" + "x" * 900_000},
        "a path of 400,000 segments": {"url": "/x" * 400_000},
        "100,000 unknown parameters": {"url": "/v1/Alerts", "query": {f"P{number}": 1 for number in range(50_000)}},
        "credentials": {"url": "/", "headers": {"Authorization": "Basic eA=="}},
        "a header that ends the line": {"url": "/", "headers": {"X": "a\r\nHost: evil"}},
    }
    return [
        *(OddCommand(f"parameters: {name}", b"odd", value) for name, value in rejected.items()),
        *(
            OddCommand(f"call-api: {name}", b"odd", orjson.dumps(value), command="call-api")
            for name, value in calls.items()
        ),
        OddCommand(
            "call-api: a path of 900 kB, unchecked",
            b"odd",
            orjson.dumps({"url": "/" + "x" * 900_000, "strict": False}),
            command="call-api",
            outcomes=frozenset({"failed"}),
        ),
        OddCommand("parameters: control characters", b"odd", _message(body="a\0b\x1b[31m\u202e"), outcomes=SUCCEEDED),
        OddCommand("list: an unknown resource", b"odd", b'{"resource":"%s"}' % (b"x" * 900_000), command="list"),
        OddCommand("update: no resource", b"odd", b"{}", command="update"),
        OddCommand("get: a resource that is a list", b"odd", b'{"resource":[[]]}', command="get"),
    ]


class HeaderName(str):
    """A header's name in hexadecimal, which is written as its bytes."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:
        return bytes.fromhex(self)


class _Batch(BatchBuilder):  # type: ignore[misc]  # untyped in the library
    """One record, written without the client's checks: its compiled builder insists on text as a header's name."""

    def __init__(self) -> None:
        super().__init__(2 * LARGE, 0)
        self._builder = _DefaultRecordBatchBuilderPy(2, 0, 0, -1, -1, 0, 2 * LARGE)

    def write(self, odd: OddCommand) -> None:
        headers = [(name if isinstance(name, str) else HeaderName(name.hex()), raw) for name, raw in odd.headers]
        self._builder.append(0, odd.timestamp, odd.key, odd.value, headers)
        self._relative_offset = 1

    def _set_producer_state(self, *state: int) -> None:
        self._builder.set_producer_state(*state)


async def produce(producer: AIOKafkaProducer, topic: str, odd: OddCommand, *, partition: int = 0) -> RecordMetadata:
    """Write an odd command as it is: with header names that are not UTF-8, or neither key nor value."""
    batch = _Batch()
    batch.write(odd)
    found: RecordMetadata = await (await producer.send_batch(batch, topic, partition=partition))
    return found
