"""What Twilio's answers mean."""

import pytest

from connector.errors import BadCredentials, NotExecuted, PerhapsExecuted, Refused, TwilioError
from connector.twilio.answers import failure

DEADLINE_SECONDS = 10.0


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
