"""The signature against Twilio's own vectors and the official SDK's validator."""

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import MultiDict
from twilio.request_validator import RequestValidator

from connector.twilio.signature import SHA1, SHA256, Keys, compute, compute_sha256, explain, url_variants, verify
from tests.examples import examples

VECTORS = json.loads((Path(__file__).parent / "contract" / "signature_vectors.json").read_text())
URL = "https://hooks.example.com/callbacks/message-status?command=a%2Fb"
PAIRS = [("MessageSid", "SM1"), ("MessageStatus", "sent"), ("Body", "grüße 🎉"), ("Empty", "")]
TOKEN = "fictional-token"
KEYS = Keys.of([TOKEN], {"one": "shared-secret", "two": "other-secret"})


def pairs_of(params: Any) -> list[tuple[str, str]]:
    return list(params.items()) if isinstance(params, dict) else [(name, value) for name, value in params or ()]


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_every_vector_is_judged_as_expected(vector: dict[str, Any]) -> None:
    sha256 = vector["algorithm"] == SHA256
    keys = Keys.of([] if sha256 else [vector["auth_token"]], {"k": vector["auth_token"]} if sha256 else {})
    verdict = verify(
        vector["url"],
        pairs_of(vector["params"]),
        vector["signature"],
        keys,
        settings=f"key=k,algorithm={vector['algorithm']}" if sha256 else "",
        body=None if vector["body"] is None else vector["body"].encode(),
    )
    assert verdict.valid is vector["expect_valid"]
    assert (verdict.reason == "valid") is vector["expect_valid"]


@pytest.mark.parametrize(
    "vector", [v for v in VECTORS if v["expect_valid"] and "port" not in v["name"] and "443" not in v["name"]]
)
def test_the_computed_signature_is_the_vectors(vector: dict[str, Any]) -> None:
    function = compute_sha256 if vector["algorithm"] == SHA256 else compute
    assert function(vector["url"], pairs_of(vector["params"]), vector["auth_token"]) == vector["signature"]


CORPUS = json.loads((Path(__file__).parent / "contract" / "sdk_signature_vectors.json").read_text())


@pytest.mark.parametrize("vector", CORPUS, ids=[f"{vector['sdk']}: {vector['name']}" for vector in CORPUS])
def test_every_vector_of_the_official_sdks_is_judged_as_they_do(vector: dict[str, Any]) -> None:
    keys = Keys.of([vector["token"]])
    body = None if vector["body"] is None else vector["body"].encode()
    for judge in (verify, explain):
        verdict = judge(vector["url"], pairs_of(vector["params"]), vector["signature"], keys, body=body)
        assert verdict.valid is vector["valid"]


def test_the_corpus_has_vectors_of_all_seven_sdks() -> None:
    assert {vector["sdk"] for vector in CORPUS} == {"python", "node", "java", "csharp", "ruby", "php", "go"}


# --- the official SDK as oracle; where facts.md says that it errs (userinfo, IPv6, bare "?"), it is not asked ---------
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NAMES = st.one_of(st.sampled_from(["From", "To", "Body", "MediaUrl", "Sid", "SidAccount"]), TEXT)
FIELDS = st.lists(st.tuples(NAMES, TEXT), max_size=12)
PORTS = st.sampled_from(["", ":80", ":443", ":8080", ":65535"])
PATHS = st.text(st.sampled_from("abcXYZ019/._~-%"), max_size=12)
QUERIES = st.text(st.sampled_from("abXY09=&%+.'*~"), min_size=1, max_size=12)
URLS = st.builds(
    lambda scheme, host, port, path, query: f"{scheme}://{host}{port}/{path}" + (f"?{query}" if query else ""),
    st.sampled_from(["http", "https"]),
    st.sampled_from(["example.com", "a.b.example", "127.0.0.1"]),
    PORTS,
    PATHS,
    st.one_of(st.none(), QUERIES),
)


@settings(max_examples=examples(2000), deadline=None)
@given(URLS, FIELDS, TEXT.filter(bool), st.sampled_from([SHA1, SHA256]))
def test_the_sdk_accepts_what_we_compute_and_we_accept_what_it_computes(
    url: str, fields: list[tuple[str, str]], token: str, algorithm: str
) -> None:
    validator, form = RequestValidator(token), MultiDict(fields)
    keys = Keys.of([token], {"k": token})
    header = "" if algorithm == SHA1 else f"key=k,algorithm={SHA256}"
    ours = (compute if algorithm == SHA1 else compute_sha256)(url, fields, token)
    theirs = validator.compute_signature(url, form, algorithm)
    assert ours == theirs
    assert validator.validate(url, form, ours, algorithm)
    assert verify(url, fields, theirs, keys, settings=header).valid


@settings(max_examples=examples(1500), deadline=None)
@given(URLS, URLS, FIELDS, FIELDS, st.integers(0, 3))
def test_we_refuse_whatever_the_sdk_refuses(
    url: str, signed_url: str, fields: list[tuple[str, str]], signed_fields: list[tuple[str, str]], same: int
) -> None:
    signed_url = url if same & 1 else signed_url
    signed_fields = fields if same & 2 else signed_fields
    signature = compute(signed_url, signed_fields, TOKEN)
    expected = RequestValidator(TOKEN).validate(url, MultiDict(fields), signature)
    assert verify(url, fields, signature, KEYS).valid is expected
    assert explain(url, fields, signature, KEYS).valid is expected


@settings(max_examples=examples(500), deadline=None)
@given(URLS, TEXT, st.booleans())
def test_json_bodies_are_judged_as_the_sdk_does(url: str, body: str, intact: bool) -> None:  # noqa: FBT001  # hypothesis
    digest = hashlib.sha256(body.encode()).hexdigest()
    url = url.partition("?")[0] + f"?a=1&bodySHA256={digest}"
    received = body if intact else body + "!"
    signature = compute(url, (), TOKEN)
    expected = RequestValidator(TOKEN).validate(url, received, signature)
    assert verify(url, (), signature, KEYS, body=received.encode()).valid is expected is intact


@settings(max_examples=examples(1000), deadline=None)
@given(
    st.one_of(URLS, st.text(max_size=30)),
    st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=4),
    st.one_of(st.none(), st.text(max_size=40)),
    st.text(max_size=40),
    st.one_of(st.none(), st.binary(max_size=20)),
)
def test_nothing_that_a_caller_sends_raises(
    url: str, fields: list[tuple[str, str]], signature: str | None, header: str, body: bytes | None
) -> None:
    assert not verify(url, fields, signature, KEYS, settings=header, body=body).valid
    assert not explain(url, fields, signature, KEYS, settings=header, body=body).valid


# --- rules one by one ----------------------------------------------------------------------------------------------
def test_the_port_may_be_dropped_or_added_by_twilio() -> None:
    for signed in ("https://example.com/x", "https://example.com:443/x"):
        for received in ("https://example.com/x", "https://example.com:443/x"):
            assert verify(received, PAIRS, compute(signed, PAIRS, TOKEN), KEYS).valid
    assert not verify("https://example.com/x", PAIRS, compute("https://example.com:8443/x", PAIRS, TOKEN), KEYS).valid


def test_ipv6_hosts_keep_their_brackets() -> None:
    assert url_variants("https://[::1]:8443/x") == ["https://[::1]:8443/x", "https://[::1]/x"]
    assert url_variants("http://[::1]/x") == ["http://[::1]/x", "http://[::1]:80/x"]


def test_userinfo_may_be_signed_or_dropped() -> None:
    received = "https://user:pass@example.com:8443/x?y=@z"
    for signed in (received, "https://example.com:8443/x?y=@z", "https://example.com/x?y=@z"):
        assert verify(received, PAIRS, compute(signed, PAIRS, TOKEN), KEYS).valid


def test_a_fragment_is_signed_or_not() -> None:
    assert compute(URL + "#rc=3&rp=all", PAIRS, TOKEN) == compute(URL, PAIRS, TOKEN)
    signatures = {
        signed: RequestValidator(TOKEN).compute_signature(signed, dict(PAIRS)) for signed in (URL, URL + "#rc=3")
    }
    assert verify(URL + "#rc=3", PAIRS, signatures[URL], KEYS).valid
    assert verify(URL + "#rc=3", PAIRS, signatures[URL + "#rc=3"], KEYS).valid
    assert not verify(URL, PAIRS, signatures[URL + "#rc=3"], KEYS).valid
    assert not verify(URL + "#rc=4", PAIRS, signatures[URL + "#rc=3"], KEYS).valid


@pytest.mark.parametrize("mark", "@:!'()*~")
def test_each_mark_may_be_signed_bare_or_escaped(mark: str) -> None:
    bare, escaped = f"{URL}&A=x{mark}y", f"{URL}&A=x%{ord(mark):02X}y"
    assert verify(escaped, (), compute(bare, (), TOKEN), KEYS).valid
    assert verify(bare, (), compute(escaped, (), TOKEN), KEYS).valid is (mark not in "@:")
    assert not verify(escaped.replace("x", "z"), (), compute(bare, (), TOKEN), KEYS).valid


def test_other_characters_are_signed_as_they_are_sent() -> None:
    for bare, escaped in (
        ("a", "%61"),
        ("+", "%2B"),
        ("/", "%2F"),
        ("&", "%26"),
        ("=", "%3D"),
        ("%", "%25"),
        ("+", "%20"),
    ):
        assert not verify(f"{URL}&A={escaped}", (), compute(f"{URL}&A={bare}", (), TOKEN), KEYS).valid
        assert not verify(f"{URL}&A={bare}", (), compute(f"{URL}&A={escaped}", (), TOKEN), KEYS).valid


def test_the_number_of_variants_is_bounded() -> None:
    assert len(url_variants("https://h.example/x?" + "a%40'b%2A*~" * 50 + "#rc=3")) <= 40


def test_any_of_several_tokens_is_accepted() -> None:
    keys = Keys.of(["old", "new"])
    for token in ("old", "new"):
        verdict = explain(URL, PAIRS, compute(URL, PAIRS, token), keys)
        assert verdict.valid
    assert not verify(URL, PAIRS, compute(URL, PAIRS, "older"), keys).valid


@pytest.mark.parametrize("header", ["", " ", "key=one", "key=one,algorithm=", "algorithm=hmac_sha1", "nonsense"])
def test_without_a_named_algorithm_the_auth_token_counts(header: str) -> None:
    assert verify(URL, PAIRS, compute(URL, PAIRS, TOKEN), KEYS, settings=header).valid


@pytest.mark.parametrize("header", ["key=two, algorithm=HMAC_SHA256", "algorithm=hmac_sha256,key=two"])
def test_a_shared_key_is_selected_by_its_id(header: str) -> None:
    assert verify(URL, PAIRS, compute_sha256(URL, PAIRS, "other-secret"), KEYS, settings=header).valid
    assert not verify(URL, PAIRS, compute_sha256(URL, PAIRS, "shared-secret"), KEYS, settings=header).valid


def test_a_caller_cannot_choose_the_kind_of_secret() -> None:
    sha256 = "key=one,algorithm=HMAC_SHA256"
    by_token = base64.b64encode(hmac.digest(TOKEN.encode(), URL.encode(), "sha256")).decode()
    by_shared = base64.b64encode(hmac.digest(b"shared-secret", URL.encode(), "sha1")).decode()
    assert not verify(URL, (), by_token, KEYS, settings=sha256).valid
    assert not verify(URL, (), by_shared, KEYS).valid
    assert not verify(URL, (), by_shared, KEYS, settings="key=one,algorithm=HMAC_SHA1").valid


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("key=one,algorithm=HMAC_MD5", "unknown algorithm"),
        ("key=one,algorithm=none", "unknown algorithm"),
        ("key=three,algorithm=HMAC_SHA256", "unknown shared key"),
        ("algorithm=HMAC_SHA256", "unknown shared key"),
    ],
)
def test_unknown_algorithms_and_keys_are_refused(header: str, reason: str) -> None:
    verdict = verify(URL, PAIRS, compute(URL, PAIRS, TOKEN), KEYS, settings=header)
    assert (verdict.valid, verdict.reason) == (False, reason)


@pytest.mark.parametrize("signature", [None, ""])
def test_a_missing_signature_is_refused(signature: str | None) -> None:
    assert verify(URL, PAIRS, signature, KEYS).reason == "signature missing"


def test_an_empty_secret_signs_nothing() -> None:
    assert verify(URL, PAIRS, compute(URL, PAIRS, ""), Keys.of([""])).reason == "no auth token"
    empty = Keys.of([TOKEN], {"k": ""})
    forged = compute_sha256(URL, PAIRS, "")
    assert not verify(URL, PAIRS, forged, empty, settings="key=k,algorithm=HMAC_SHA256").valid


def test_a_body_without_its_hash_in_the_url_is_not_covered() -> None:
    assert verify(URL, (), compute(URL, (), TOKEN), KEYS, body=b"{}").reason == "body not covered"
    hidden = f"https://example.com/x?not_bodySHA256={hashlib.sha256(b'{}').hexdigest()}"
    assert verify(hidden, (), compute(hidden, (), TOKEN), KEYS, body=b"{}").reason == "body not covered"


def test_a_changed_body_is_refused() -> None:
    url = f"https://example.com/x?bodySHA256={hashlib.sha256(b'{}').hexdigest()}"
    assert verify(url, (), compute(url, (), TOKEN), KEYS, body=b"{} ").reason == "body changed"


def test_explain_shows_which_url_and_string_were_signed() -> None:
    url = "https://example.com/x"
    verdict = explain(url, [("B", "2"), ("A", "1")], compute(url + ":", (), TOKEN), Keys.of(["one", "two"]))
    assert [(attempt.url, attempt.signed, attempt.secret, attempt.matches) for attempt in verdict.attempts] == [
        ("https://example.com/x", "https://example.com/xA1B2", "auth token 1", False),
        ("https://example.com/x", "https://example.com/xA1B2", "auth token 2", False),
        ("https://example.com:443/x", "https://example.com:443/xA1B2", "auth token 1", False),
        ("https://example.com:443/x", "https://example.com:443/xA1B2", "auth token 2", False),
    ]


def test_secrets_and_contents_are_not_printed() -> None:
    assert TOKEN not in repr(KEYS)
    assert "sent" not in repr(explain(URL, PAIRS, "x", KEYS))
