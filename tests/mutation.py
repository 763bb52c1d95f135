"""Requests to the callback port, signed and then changed as an attacker, a bad proxy or a bad line would."""

import hashlib
import json
from collections.abc import Callable, Sequence
from random import Random
from urllib.parse import urlencode

from connector.twilio.signature import compute
from tests.callback_port import ACCOUNT, FORM_TYPE, OTHER, PATH, PUBLIC, STATUS, TOKEN, signed

# What breaks parsers: line ends, separators, framing, escapes, control characters, other encodings.
WORDS = (
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t", b"\x00", b"\x0b", b"\x7f", b"\x80", b"\xff", b"\xc0\xaf",
    b"#", b"?", b"&", b"=", b";", b"%", b"%00", b"%0d%0a", b"%23", b"%26", b"%3D", b"%C0%AF", b"%zz", b"+",
    b",", b":", b"/", b"//", b"/../", b"..", b"0", b"1", b"f", b"-1", b"ffffffffffffffff",
    b"99999999999999999999", b"\r\n \r\n", b"\r\n\tfolded", b"HTTP/1.0", b"HTTP/1.1", b"HTTP/2.0", b"GET ",
    b"POST ", b"HEAD ", b"CONNECT ", b"http://evil.example", b"Content-Length: 0\r\n",
    b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: identity\r\n",
    b"0\r\n\r\n", b"5\r\nhello\r\n", b"Connection: close\r\n", b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
    b"Expect: 100-continue\r\n", b"Host: evil.example\r\n", b"X-Twilio-Signature: AAAA\r\n",
    b"Content-Type: application/json\r\n", b"&AccountSid=" + OTHER.encode(), b"&account_sid=" + OTHER.encode(),
    b"&MessageSid=SMevil", b"&command=evil", b"&bodySHA256=" + b"0" * 64, b"command=evil&", "é🎉".encode(),
    b"x" * 300,
)  # fmt: skip


def _get() -> bytes:
    path = f"{PATH}&{urlencode(STATUS)}"
    signature = compute(PUBLIC + path, (), TOKEN)
    return f"GET {path} HTTP/1.1\r\nHost: x\r\nX-Twilio-Signature: {signature}\r\n\r\n".encode()


def _chunked() -> bytes:
    body = urlencode(STATUS).encode()
    signature = compute(PUBLIC + PATH, STATUS.items(), TOKEN)
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM_TYPE}\r\nX-Twilio-Signature: {signature}\r\n"
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:40], body[40:]))
    return head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


def _events() -> bytes:
    event = {"id": "EZ1", "source": "s", "type": "t", "specversion": "1.0", "data": {"accountSid": ACCOUNT}}
    body = json.dumps([event]).encode()
    path = f"/callbacks/events?bodySHA256={hashlib.sha256(body).hexdigest()}"
    signature = compute(PUBLIC + path, (), TOKEN)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-Twilio-Signature: {signature}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


SIGNED: Sequence[bytes] = (signed(more=""), signed(), _get(), _chunked(), _events())


def _insert(random: Random, raw: bytes) -> bytes:
    at = random.randrange(len(raw) + 1)
    return raw[:at] + random.choice(WORDS) + raw[at:]


def _replace(random: Random, raw: bytes) -> bytes:
    at, size = random.randrange(len(raw) + 1), random.choice((1, 1, 1, 2, 8, 64))
    return raw[:at] + random.choice(WORDS) + raw[at + size :]


def _flip(random: Random, raw: bytes) -> bytes:
    at = random.randrange(len(raw))
    return raw[:at] + bytes([raw[at] ^ 1 << random.randrange(8)]) + raw[at + 1 :]


def _delete(random: Random, raw: bytes) -> bytes:
    at, size = random.randrange(len(raw)), random.choice((1, 1, 2, 8, 64))
    return raw[:at] + raw[at + size :]


def _repeat(random: Random, raw: bytes) -> bytes:
    start, size = random.randrange(len(raw)), random.choice((1, 8, 32, 200))
    return raw[: start + size] + raw[start:]


def _swap(random: Random, raw: bytes) -> bytes:
    at = random.randrange(len(raw))
    return raw[:at] + raw[at : at + 2][::-1] + raw[at + 2 :]


def _cut(random: Random, raw: bytes) -> bytes:
    return raw[: random.randrange(1, len(raw) + 1)]


def _bare_line_ends(random: Random, raw: bytes) -> bytes:
    return raw.replace(b"\r\n", b"\n", random.choice((1, 3, -1)))


def _follow(random: Random, raw: bytes) -> bytes:
    return raw + random.choice(SIGNED)


CHANGES: Sequence[Callable[[Random, bytes], bytes]] = (
    _insert, _insert, _insert, _replace, _replace, _flip, _delete, _repeat, _swap, _cut, _bare_line_ends, _follow,
)  # fmt: skip


def mutated(random: Random) -> bytes:
    """One or two signed requests with up to four changes."""
    raw = random.choice(SIGNED)
    for _ in range(random.choice((0, 1, 1, 1, 2, 2, 3, 4))):
        raw = random.choice(CHANGES)(random, raw) or b"\r\n"
    return raw
