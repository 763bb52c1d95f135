"""Calling a callback address as Twilio does: signed, within a few seconds, redirects not followed."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

import aiohttp

from connector.twilio.signature import SIGNATURE_HEADER, compute

ANSWER_SECONDS = 15.0
SHOWN = 200


@dataclass(frozen=True, slots=True)
class Delivered:
    """The answer: its status, 0 without one; `text` is its beginning, or why there is none."""

    status: int
    text: str


async def deliver(
    session: aiohttp.ClientSession,
    url: str,
    pairs: Sequence[tuple[str, str]],
    *,
    token: str,
    headers: Mapping[str, str] | None = None,
) -> Delivered:
    """POST a form, signed with an account's Auth Token."""
    signed = {**(headers or {}), SIGNATURE_HEADER: compute(url, pairs, token)}
    named = {"Content-Type": "application/x-www-form-urlencoded", **signed}
    return await _post(session, url, urlencode(list(pairs)).encode(), named)


async def deliver_events(session: aiohttp.ClientSession, url: str, body: bytes, *, token: str) -> Delivered:
    """POST a batch of Event Streams: its hash is in the URL, which is signed."""
    whole = f"{url}?bodySHA256={hashlib.sha256(body).hexdigest()}"
    headers = {"Content-Type": "application/json", SIGNATURE_HEADER: compute(whole, (), token)}
    return await _post(session, whole, body, headers)


async def _post(session: aiohttp.ClientSession, url: str, body: bytes, headers: Mapping[str, str]) -> Delivered:
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    try:
        async with session.post(url, data=body, headers=headers, timeout=timeout, allow_redirects=False) as answer:
            text = (await answer.content.read(SHOWN)).decode(errors="replace").strip()
            return Delivered(answer.status, text)
    except TimeoutError:
        return Delivered(0, f"There was no answer within {ANSWER_SECONDS:.0f} s.")
    except (aiohttp.ClientError, OSError) as error:
        return Delivered(0, f"{type(error).__name__}: {error}"[:SHOWN])
