"""Signed callbacks as Twilio sends them: distinct, of about 600 bytes."""

import random
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

from connector.twilio.signature import compute

TOKEN = "0123456789abcdef0123456789abcdef"  # noqa: S105 - fictional
ACCOUNT_SID = "AC" + "0a" * 16
PUBLIC_URL = "https://hooks.example.com"
PATH = "/callbacks/message-status"
# More than a cache of ours would like to hold, so that what is measured is the work.
CALLBACKS = 20_000


def _form(number: int, choice: random.Random) -> list[tuple[str, str]]:
    sid = f"SM{choice.getrandbits(128):032x}"
    status = choice.choice(["queued", "sent", "delivered", "undelivered"])
    to = f"+1555{choice.randrange(10_000_000):07d}"
    pairs = [
        ("AccountSid", ACCOUNT_SID),
        ("ApiVersion", "2010-04-01"),
        ("ChannelInstallSid", f"XE{choice.getrandbits(128):032x}"),
        ("ChannelPrefix", "whatsapp"),
        ("ChannelToAddress", to),
        ("EventType", "DELIVERED"),
        ("From", "whatsapp:+14155238886"),
        ("MessageSid", sid),
        ("MessageStatus", status),
        ("MessagingServiceSid", f"MG{choice.getrandbits(128):032x}"),
        ("RawDlrDoneDate", "2611241331"),
        ("SmsSid", sid),
        ("SmsStatus", status),
        ("StructuredMessage", "false"),
        ("To", f"whatsapp:{to}"),
        ("ChannelStatusMessage", f"Message sent to handset; carrier notice {number:06d}"),
    ]
    failed = [("ErrorCode", "30003"), ("ErrorMessage", "Unreachable destination handset")]
    return pairs + failed if status == "undelivered" else pairs


def callbacks(count: int = CALLBACKS, *, seed: int = 1) -> Iterator[tuple[str, str]]:
    """(signature, body) of so many status callbacks; the same for the same seed."""
    choice = random.Random(seed)
    for number in range(count):
        pairs = _form(number, choice)
        yield compute(PUBLIC_URL + PATH, pairs, TOKEN), urlencode(pairs)


def write(file: Path, count: int = CALLBACKS) -> Path:
    """Write `signature<TAB>body` lines for the load generators."""
    file.write_text("".join(f"{signature}\t{body}\n" for signature, body in callbacks(count)))
    return file
