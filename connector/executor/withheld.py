"""Our own credentials, kept out of what an endpoint answers: one may echo the headers of its request. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

MASK = b"***"
# Shorter ones are placeholders of a test or a simulator: they would be found everywhere.
SHORTEST = 8


@dataclass(frozen=True, slots=True)
class Withheld:
    """What must not be in a result, however it is escaped there."""

    pattern: re.Pattern[bytes] | None = None

    def out_of(self, document: bytes) -> bytes:
        """The JSON document with a mask in place of each secret."""
        return document if self.pattern is None else self.pattern.sub(MASK, document)


NOTHING = Withheld()


@lru_cache(maxsize=64)
def withheld(secrets: frozenset[str]) -> Withheld:
    """These secrets."""
    found = sorted((secret for secret in secrets if len(secret) >= SHORTEST), key=len, reverse=True)
    return Withheld(re.compile(b"|".join(map(_anyhow, found)))) if found else NOTHING


def _anyhow(secret: str) -> bytes:
    """A pattern of the secret as it is, and with its characters escaped as in JSON, URLs or HTML.

    What pads Base64 at its end says nothing, and may be missing.
    """
    return b"".join(_character(character) for character in secret.rstrip("="))


@lru_cache(maxsize=256)
def _character(character: str) -> bytes:
    if character.isascii() and character.isalnum():
        return character.encode()
    return b"(?:" + b"|".join(_ways(character)) + b")"


def _ways(character: str) -> Iterable[bytes]:
    number = ord(character)
    percent = "".join(f"%{byte:02x}" for byte in character.encode())
    yield re.escape(character.encode())
    yield re.escape(b"\\" + character.encode())
    yield rb"\\u(?i:%04x)" % number
    yield b"(?i:" + percent.encode() + b")"
    yield b"&#0*%d;" % number
    yield b"&#[xX]0*(?i:%x);" % number
