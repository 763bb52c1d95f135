"""URLs and forms without end against the official validator: what it accepts is accepted, what is accepted was signed.

Each case is a callback that Twilio may sign, or that a caller has changed after it was signed, in one of the spellings
that clients, proxies and Twilio's products use.
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from urllib.parse import parse_qsl, quote, quote_plus, urlencode, urlsplit

import pytest
from multidict import MultiDict
from twilio.request_validator import RequestValidator

from connector.events import Record
from connector.receiver.connection import SIGNATURE_HEADER, Request
from connector.receiver.intake import Intake, Route, routes
from connector.receiver.refusals import Refusal, Unfit
from connector.resources import CALLBACKS
from connector.twilio.signature import Keys

COUNT = int(os.environ.get("DIFFERENTIAL_EXAMPLES", "3000"))
SEED = int(os.environ.get("DIFFERENTIAL_SEED", "1"))
TOKENS = {"AC" + "1" * 32: "token-one", "AC" + "2" * 32: "token-two"}
STRANGER = "AC" + "9" * 32
OVERRIDES = "rc=3&rp=all"
PLACES = (
    "https://hooks.example.com",
    "http://hooks.example.com:8080",
    "https://hooks.example.com:8443/in",
    "https://user:pass@hooks.example.com",
    "HTTPS://Hooks.Example.com",
)
FORMS = {
    "message-status": ("MessageSid", {"MessageStatus": "sent"}),
    "call-status": ("CallSid", {"CallStatus": "ringing"}),
    "amd-status": ("CallSid", {"AnsweredBy": "human"}),
    "inbound-message": ("MessageSid", {"From": "+1", "To": "+2", "Body": "x", "NumMedia": "0"}),
}
NAMES = (
    "Body",
    "Caller",
    "To",
    "SipHeader_X-A",
    "sipHeader_x-a",
    "AccountSid",
    "account_sid",
    "ü",
    "a.b",
    "From",
    "MediaUrl0",
)
TEXTS = (
    "", "x", "sip:+1555@203.0.113.7:5060;transport=tls", "O'Hara (!*~)", "a b+c", "100%", "%41", "ü🎉漢", "&=#?/;",
    "\x00\r\n", "SM" + "e" * 32, "AC" + "2" * 32, "\ufffd", "a" * 400,
)  # fmt: skip
SAFE = ("", "~", ":@", "'()*!~", ":@'()*!~", "-._~", "/")
KEYS = {account: Keys.of([token]) for account, token in TOKENS.items()}
ROUTES = {
    place: routes(CALLBACKS.values(), public_url=place, prefix="t", envelope="binary", overrides=OVERRIDES)
    for place in PLACES
}
Pairs = list[tuple[str, str]]


@dataclass
class Case:
    """A callback as it was signed, and as it arrives."""

    place: str
    kind: str
    method: str
    query: Pairs
    form: Pairs
    token: str
    signed_url: str
    signed_form: Pairs
    target: str
    signature: str

    @property
    def url(self) -> str:
        """The public URL that was called."""
        parts = urlsplit(self.place)
        return f"{self.place.removesuffix(parts.path)}{self.target}"


def _spelled(random: Random, pairs: Pairs) -> str:
    """A query or a form in one of the spellings of its characters."""
    safe, writer = random.choice(SAFE), random.choice((quote, quote_plus))
    spelled = urlencode(pairs, safe=safe, quote_via=writer)
    return spelled if random.random() < 0.9 else spelled.replace("%3A", "%3a").replace("%2F", "%2f")


def _fields(random: Random, kind: str) -> Pairs:
    key, required = FORMS[kind]
    account = random.choice([*TOKENS, *TOKENS, *TOKENS, STRANGER])
    pairs = [("AccountSid", account), (key, "SM" + "0" * 31 + str(random.randrange(10))), *required.items()]
    pairs += [(random.choice(NAMES), random.choice(TEXTS)) for _ in range(random.randrange(4))]
    if random.random() < 0.1:
        pairs.append(random.choice(pairs))
    if random.random() < 0.05:
        pairs.pop(random.randrange(len(pairs)))
    random.shuffle(pairs)
    return pairs


def _query(random: Random) -> Pairs:
    pairs: Pairs = []
    if random.random() < 0.7:
        pairs.append(("command", random.choice(["cmd/0/1", "urn:order:7", "a@b", "it's", "ü🎉"])))
    if random.random() < 0.3:
        pairs.append(("correlation", random.choice(TEXTS)))
    if random.random() < 0.2:
        pairs.append((random.choice(["tag", "command", "Command", "bodySHA256"]), random.choice(TEXTS)))
    return pairs


def _changed(random: Random, pairs: Pairs) -> Pairs:
    """What an attacker makes of signed pairs: one added, dropped, changed, renamed, or moved into its neighbour."""
    pairs = list(pairs)
    at = random.randrange(len(pairs)) if pairs else 0
    change = random.randrange(5) if pairs else 0
    if change == 0:
        pairs.insert(at, (random.choice([*NAMES, "command", "CallSid"]), random.choice(TEXTS)))
    elif change == 1:
        pairs.pop(at)
    elif change == 2:
        pairs[at] = (pairs[at][0], random.choice(TEXTS))
    elif change == 3:
        pairs[at] = (random.choice(NAMES), pairs[at][1])
    else:
        name, value = pairs[at]
        pairs[at] = (name + value[:1], value[1:])
    return pairs


def _signed_url(random: Random, place: str, path_and_query: str, spelled_again: str) -> str:
    """The URL as one of Twilio's products signs it: port and user kept or not, fragment kept or not, other escapes."""
    parts = urlsplit(place)
    host = parts.netloc.rpartition("@")[2]
    user = parts.netloc.removesuffix(host)
    bare = host.partition(":")[0]
    default = ":443" if parts.scheme == "https" else ":80"
    hosts = [host, host, host, bare, host if ":" in host else host + default]
    chosen = random.choice([user, ""]) + random.choice(hosts)
    scheme = place.partition("://")[0]
    tail = random.choice([path_and_query, path_and_query, spelled_again])
    return f"{scheme}://{chosen}{tail}{random.choice(['', '', '#' + OVERRIDES])}"


def case(random: Random) -> Case:
    """A callback; one in three is changed after it was signed, or signed with another token."""
    place, kind = random.choice(PLACES), random.choice(list(FORMS))
    method = random.choice(["POST", "POST", "GET"])
    fields, query = _fields(random, kind), _query(random)
    url_pairs, form = (query, fields) if method == "POST" else (query + fields, [])
    path = urlsplit(place).path + f"/callbacks/{kind}"
    target = path + ("?" + _spelled(random, url_pairs) if url_pairs else random.choice(["", "", "?"]))
    again = path + ("?" + _spelled(random, url_pairs) if url_pairs else "")
    signed_url, signed_form = _signed_url(random, place, target, again), list(form)
    account = dict(fields).get("AccountSid", "")
    token = random.choice([TOKENS.get(account, "none")] * 5 + [*TOKENS.values(), "none"])
    signature = RequestValidator(token).compute_signature(signed_url, MultiDict(signed_form))
    if random.random() < 0.3:
        if method == "POST" and random.random() < 0.7:
            form = _changed(random, form)
        else:
            url_pairs = _changed(random, url_pairs)
            target = path + "?" + _spelled(random, url_pairs)
    return Case(place, kind, method, url_pairs, form, token, signed_url, signed_form, target, signature)


def _arriving(given: Case, random: Random) -> Request:
    request = Request(lambda _request: None)
    request.method, request.target = given.method, given.target
    request.headers = {SIGNATURE_HEADER: given.signature}
    if given.method == "POST":
        request.media_type = "application/x-www-form-urlencoded"
        request.body = _spelled(random, given.form).encode()
    return request


def _judged(route: Route, request: Request) -> tuple[int, Sequence[Record]]:
    """What the receiver makes of it: 204 with records, or a refusal; 400 with `signed` for what is dead-lettered."""
    try:
        return 204, Intake(KEYS).records(route, request)
    except Unfit:
        return 422, ()
    except Refusal as refusal:
        return refusal.status, ()


def _said(url: str) -> Pairs:
    """What the query of a URL says, whatever its spelling."""
    return parse_qsl(url.partition("#")[0].partition("?")[2], keep_blank_values=True)


def _accounts(pairs: Pairs) -> set[str]:
    return {value for name, value in pairs if name.replace("_", "").lower() == "accountsid"}


def _concatenated(pairs: Pairs) -> str:
    return "".join(name + value for name, value in sorted(set(pairs)))


def _check_truth(given: Case, record: Record | None) -> None:
    """What was taken was signed with the token of its account, and says what was signed."""
    content = given.form if given.method == "POST" else _said(given.target)
    (account,) = _accounts(content)
    assert given.token == TOKENS[account]
    assert _said(given.target) == _said(given.signed_url)
    # Twilio puts no mark between names and values: the borders are not signed, the order of all characters is.
    assert _concatenated(given.form) == _concatenated(given.signed_form)
    if record is None:
        return
    headers: Mapping[str, bytes] = dict(record.headers)
    assert headers["ce_source"].decode().split("/")[2] == account
    assert record.key is not None
    assert record.key.decode() in [value for _, value in content]
    signed = [value for _, value in _said(given.signed_url)]
    for name in ("ce_causationid", "ce_correlationid"):
        assert name not in headers or headers[name].decode() in signed


@pytest.mark.timeout(3600)
def test_what_the_official_validator_accepts_is_accepted_and_what_is_accepted_was_signed() -> None:
    random, counts = Random(SEED), Counter[str]()  # noqa: S311 - repeatable
    for _ in range(COUNT):
        given = case(random)
        route = ROUTES[given.place][given.target.partition("?")[0]]
        status, records = _judged(route, _arriving(given, random))
        accounts = _accounts(given.form if given.method == "POST" else _said(given.target))
        validator = RequestValidator(TOKENS.get(next(iter(accounts), ""), "unknown"))
        theirs = validator.validate(given.url, MultiDict(given.form), given.signature)
        if theirs and len(accounts) == 1 and accounts <= TOKENS.keys():
            assert status != 403, given
            counts["accepted by the official validator"] += 1
        if status in (204, 422):
            _check_truth(given, records[0] if records else None)
            counts["accepted here alone"] += not theirs
        counts[{204: "stored", 422: "signed and kept as a dead letter"}.get(status, f"refused with {status}")] += 1
    print(f"seed {SEED}, {COUNT} cases: {dict(sorted(counts.items()))}")  # noqa: T201 - of a long run
    assert counts["stored"] > COUNT / 5
    assert counts["accepted by the official validator"] > COUNT / 10
    assert counts["refused with 403"] > COUNT / 10
