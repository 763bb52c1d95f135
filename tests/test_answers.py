"""What Twilio's answers mean."""

import json

import pytest

from connector.errors import BadCredentials, NotExecuted, PerhapsExecuted, Refused, TwilioError
from connector.twilio.wire import failure

DEADLINE_SECONDS = 30.0


JSON_ERROR = b'{"code": %s, "message": "said", "more_info": "https://x", "status": 1}'


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        (400, JSON_ERROR % b"21211", Refused, 21211),
        (404, JSON_ERROR % b"20404", Refused, 20404),
        (302, b"", Refused, None),
        (401, JSON_ERROR % b"20003", BadCredentials, 20003),
        (401, b"<html>", BadCredentials, None),
        (403, JSON_ERROR % b"20003", BadCredentials, 20003),
        (403, JSON_ERROR % b"20008", Refused, 20008),
        (429, JSON_ERROR % b"20429", NotExecuted, 20429),
        (429, b"", NotExecuted, None),
        (400, JSON_ERROR % b'"20429"', NotExecuted, 20429),
        (408, b"", PerhapsExecuted, None),
        (500, JSON_ERROR % b"20500", PerhapsExecuted, 20500),
        (502, b"<html>bad gateway</html>", PerhapsExecuted, None),
        (503, JSON_ERROR % b"20503", PerhapsExecuted, 20503),
        (599, b"\xff\xfe", PerhapsExecuted, None),
        (400, b'["no object"]', Refused, None),
        (400, b'{"code": "none", "title": "Bad", "detail": "said", "type": "https://x"}', Refused, None),
    ],
)
def test_every_answer_has_the_class_that_says_what_may_be_done_next(
    status: int, body: bytes, kind: type[TwilioError], code: int | None
) -> None:
    error = failure(status, body, {"Retry-After": "7", "Twilio-Request-Id": "RQ1"})
    assert type(error) is kind
    assert (error.status, error.code, error.retry_after, error.request_id) == (status, code, 7, "RQ1")
    assert body not in str(error).encode() or not body


@pytest.mark.parametrize(
    ("code", "read"),
    [
        (b'"12345678901234567890123"', None),
        (b"12345678901234567890123", None),
        (b'"%s"' % (b"9" * 5000), None),
        (b"9" * 5000, None),
        ('"٢١٢١١"'.encode(), None),
        (b"true", None),
        (b"-1", None),
        (b"[21211]", None),
        (b'"21211"', 21211),
        (b"999999999", 999999999),
    ],
)
def test_a_code_is_a_number_that_a_result_can_hold(code: bytes, read: int | None) -> None:
    error = failure(400, JSON_ERROR % code, {})
    assert (type(error), error.code, error.message) == (Refused, read, "said")


def test_what_twilio_says_about_a_refusal_is_bounded_text() -> None:
    headers = {"Twilio-Request-Id": "RQ\udcff" + "x" * 30_000}
    document = {"message": "m" * 1_000_000, "more_info": "https://x/" + "y" * 1_000_000, "code": 1}
    error = failure(400, json.dumps(document).encode(), headers)
    assert (len(error.message), len(error.more_info or ""), len(error.request_id or "")) == (2_000, 2_000, 200)
    assert (error.request_id or "").encode()
    odd = failure(400, b'{"message": {"a": ["\\ud83d"]}, "more_info": [1], "type": {"b": 2}}', {})
    assert odd.message.encode()
    assert odd.more_info is None


ANSWERED = "Tue, 24 Nov 2026 12:00:30 GMT"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7),
        (" 7 ", 7),
        ("1.5", 1.5),
        ("0", None),
        ("-5", None),
        ("99999999", 300),
        ("9" * 5000, None),
        ("1e9", None),
        ("NaN", None),
        ("inf", None),
        ("\u0667", None),
        ("²", None),
        ("soon", None),
        ("", None),
        ("Tue, 24 Nov 2026 12:00:37 GMT", 7),
        ("Tue, 24 Nov 2026 11:00:30 GMT", None),
        ("Tue, 24 Nov 2099 12:00:30 GMT", 300),
        ("Fri, 31 Dec 9999 23:59:59 -2359", None),
        ("2026-11-24T12:00:37Z", 7),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_the_delay_that_twilio_asks_for_is_bounded(text: str, seconds: float | None, status: int) -> None:
    assert failure(status, b"", {"Retry-After": text, "Date": ANSWERED}).retry_after == seconds
