"""Addresses and texts: phone numbers as Twilio normalises them, senders, URLs, message segments."""

import re
from urllib.parse import urlsplit

E164 = re.compile(r"\+[1-9]\d{6,14}")
CHANNEL = re.compile(r"(whatsapp|messenger|rcs|sip|client|instagram|telegram):(.+)", re.DOTALL)
ALPHANUMERIC = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 &_+\-.]{1,11}")
SHORT_CODE = re.compile(r"\d{3,8}")
SIM = re.compile(r"(sim:)?DE[0-9a-f]{32}")
PUNCTUATION = str.maketrans("", "", " ()-.")
NATIONAL_DIGITS = 10

GSM7 = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
GSM7_EXTENDED = frozenset("^{}\\[~]|€\f")
SEGMENT = {"gsm": (160, 153), "ucs": (70, 67)}  # characters of a single and of a concatenated segment


def normalise(number: str) -> str:
    """Return a number as Twilio stores it (national US numbers become +1…); empty when it is none."""
    plain = number.translate(PUNCTUATION)
    if plain.isdigit() and len(plain) == NATIONAL_DIGITS:
        plain = "+1" + plain
    elif plain.isdigit() and len(plain) == NATIONAL_DIGITS + 1 and plain.startswith("1"):
        plain = "+" + plain
    return plain if E164.fullmatch(plain) else ""


def address(value: str) -> str:
    """Return a recipient: a normalised number or a channel address; empty when invalid."""
    if (channel := CHANNEL.fullmatch(value)) is None:
        return normalise(value) or (value if SIM.fullmatch(value) else "")
    kind, rest = channel.groups()
    if kind in {"whatsapp", "rcs"}:
        return f"{kind}:{number}" if (number := normalise(rest)) else (value if kind == "rcs" else "")
    return value


def sender(value: str) -> str:
    """Return a sender: an address, a short code or an alphanumeric id; empty when invalid."""
    if found := address(value):
        return found
    return value if SHORT_CODE.fullmatch(value) or ALPHANUMERIC.fullmatch(value) else ""


def formatted(number: str) -> str:
    """Return a US number as (555) 010-0001, anything else as it is."""
    if number.startswith("+1") and len(number) == NATIONAL_DIGITS + 2:
        return f"({number[2:5]}) {number[5:8]}-{number[8:]}"
    return number


def is_web_url(value: str) -> bool:
    """Whether it is an absolute http(s) URL whose host has no underscore (Twilio, messaging/api/message-resource)."""
    try:
        parts = urlsplit(value)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and "_" not in (parts.hostname or "")
    except ValueError:
        return False


def segments(body: str) -> int:
    """Return how many segments a text takes, GSM-7 or UCS-2."""
    if all(char in GSM7 or char in GSM7_EXTENDED for char in body):
        size, (single, joined) = len(body) + sum(char in GSM7_EXTENDED for char in body), SEGMENT["gsm"]
    else:
        size, (single, joined) = len(body.encode("utf-16-le")) // 2, SEGMENT["ucs"]
    return 1 if size <= single else -(-size // joined)
