"""A request as the public port reads it, and the reply to it as bytes."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple

from connector.twilio import signature

SIGNATURE_HEADER = signature.SIGNATURE_HEADER.lower().encode()
SETTINGS_HEADER = signature.SETTINGS_HEADER.lower().encode()
IDEMPOTENCY_HEADER = b"i-twilio-idempotency-token"


class Reply(NamedTuple):
    """What is answered: status line and headers without `Date`, and the content."""

    head: bytes
    content: bytes = b""

    @classmethod
    def of(cls, status: int, text: str = "", *, headers: Mapping[str, str] | None = None) -> "Reply":
        """A reply with plain text unless `headers` name another type; a 204 has no content."""
        content = text.encode()
        described = {"Content-Type": "text/plain; charset=utf-8"} if content else {}
        length = {} if status == HTTPStatus.NO_CONTENT else {"Content-Length": str(len(content))}
        lines = [f"{name}: {value}\r\n" for name, value in {**described, **(headers or {}), **length}.items()]
        return cls(f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{''.join(lines)}".encode(), content)


class Request:
    """A request that has been read whole.

    `target` is as it was sent; `headers` holds those that the receiver reads, by their names in lower case; `keeps`
    tells whether the connection may stay open. `answered` is called once a reply is there.
    """

    __slots__ = ("answered", "body", "headers", "keeps", "method", "reply", "target")

    def __init__(self, answered: "Callable[[Request], None]") -> None:
        self.answered = answered
        self.method = ""
        self.target = ""
        self.headers: dict[bytes, bytes] = {}
        self.body: bytes | bytearray = b""
        self.keeps = False
        self.reply: Reply | None = None

    def header(self, name: bytes) -> str:
        """The value of a header, empty when the request has none."""
        return self.headers.get(name, b"").decode("latin-1")

    @property
    def media_type(self) -> str:
        """The content type without parameters, in lower case."""
        return self.header(b"content-type").partition(";")[0].strip().lower()

    def answer(self, reply: Reply) -> None:
        """Answer, now or later: the connection keeps the order of its requests."""
        self.reply = reply
        self.answered(self)
