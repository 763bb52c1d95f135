"""What the settings accept and refuse: every rule with its sentence, its place and its remedy."""

from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from connector.errors import ConfigurationError
from connector.resources import WATCHES
from connector.resources.hosts import HOSTS
from connector.settings import Connection, Settings, WatchSettings, json_schema, load
from connector.settings.shape import leaves

SID = "AC" + "0123456789abcdef" * 2
OTHER_SID = "AC" + "f" * 32
KEY = "SK" + "0" * 32
CALL = "CA" + "0" * 32
TOKEN = "fictional-token"
ENVIRONMENT = {"TWILIO_ACCOUNT_SID": SID, "TWILIO_AUTH_TOKEN": TOKEN}
ONE = {"default": {"account_sid": SID, "auth_token": TOKEN}}


def made(**sections: Any) -> Settings:
    """Settings with one connection and these sections."""
    return Settings.model_validate({"connections": ONE, **sections})


def problems(folder: Path, text: str, **environ: str) -> list[str]:
    """What is wrong with a file, the file being called FILE."""
    file = folder / "connector.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load(file, environ={**ENVIRONMENT, **environ})
    return [problem.replace(str(file), "FILE") for problem in caught.value.problems]


ACCOUNT = f"connections: {{default: {{account_sid: {SID}, auth_token: t}}}}\n"

SENTENCES = [
    # Unknown keys.
    ("kafka:\n  partition: 6", "FILE:2: kafka.partition: is not a setting: did you mean partitions?"),
    ("topic_prefix: x", "FILE:1: topic_prefix: is not a setting here: did you mean kafka.topic_prefix?"),
    ("log: {zzz: 1}", "FILE:1: log.zzz: is not a setting: remove it, or use one of level, format"),
    # Types and bounds.
    (
        "kafka: {partitions: six}",
        "FILE:1: kafka.partitions: 'six' is not a whole number: write at least 1 and at most 10000, such as 6",
    ),
    (
        "\nkafka:\n  partitions: 0",
        "FILE:3: kafka.partitions: '0' is out of bounds: write at least 1 and at most 10000, such as 6",
    ),
    (
        "kafka: {partitions: }",
        "FILE:1: kafka.partitions: has no value: write at least 1 and at most 10000, such as 6, or remove the key",
    ),
    ("kafka: x", "FILE:1: kafka: 'x' is not a mapping: write lines of key: value below it"),
    (
        "kafka: {topic_prefix: {a: b}}",
        "FILE:1: kafka.topic_prefix: a mapping is not text: write a value, such as twilio",
    ),
    ("development: perhaps", "FILE:1: development: 'perhaps' is neither true nor false: write true or false"),
    ("log: {level: loud}", "FILE:1: log.level: 'loud' is not known here: write debug, info, warning or error"),
    ("watches: {a: b}", "FILE:1: watches: a mapping is not a list: write a list"),
    ("watches:", "FILE:1: watches: has no value: write a list, or remove the key"),
    ("roles: []", "FILE:1: roles: a list is empty: write a list, watch, callbacks or commands"),
    ("roles:\n- watch\n- nap", "FILE:3: roles.1: 'nap' is not known here: write watch, callbacks or commands"),
    (
        "shutdown_grace: 25",
        "FILE:1: shutdown_grace: '25' is not a duration: write a number and a unit, such as 500ms, 15s, 10m or 24h",
    ),
    (
        "shutdown_grace: 10ms",
        "FILE:1: shutdown_grace: 10ms is out of bounds: write at least 1s and at most 1h, such as 25s",
    ),
    (
        "callbacks: {max_body: 1B}",
        "FILE:1: callbacks.max_body: 1B is out of bounds: write at least 1KiB and at most 16MiB, such as 64KiB",
    ),
    # Kafka.
    (
        "kafka: {bootstrap_servers: localhost}",
        (
            "FILE:1: kafka.bootstrap_servers: 'localhost' is not a list of brokers: "
            "write host:port, several separated by commas"
        ),
    ),
    (
        "kafka: {topic_prefix: a_b}",
        (
            "FILE:1: kafka.topic_prefix: 'a_b' cannot begin the names of topics: "
            "use letters, digits, dots and hyphens, no underscore"
        ),
    ),
    (
        "kafka: {security_protocol: SASL_SSL}",
        "FILE:1: kafka.sasl: is missing: SASL_SSL needs mechanism, username and password",
    ),
    (
        "kafka:\n  sasl: {mechanism: PLAIN, username: u, password: p}",
        (
            "FILE:2: kafka.sasl: would not be used with security_protocol PLAINTEXT: "
            "set that to SASL_SSL or SASL_PLAINTEXT, or remove this"
        ),
    ),
    (
        "kafka:\n  security_protocol: SASL_PLAINTEXT\n  sasl: {mechanism: GSSAPI}\n  tls: {}",
        (
            "FILE:4: kafka.tls: would not be used with security_protocol SASL_PLAINTEXT: "
            "set that to SSL or SASL_SSL, or remove this"
        ),
    ),
    (
        "kafka: {security_protocol: SASL_SSL, sasl: {mechanism: PLAIN, username: u}}",
        "FILE:1: kafka.sasl.password: is missing: PLAIN needs it",
    ),
    (
        "kafka: {security_protocol: SASL_SSL, sasl: {mechanism: OAUTHBEARER}}",
        "FILE:1: kafka.sasl.password: is missing: OAUTHBEARER needs it",
    ),
    (
        "kafka: {security_protocol: SSL, tls: {key_file: k}}",
        "FILE:1: kafka.tls.key_file: is given without cert_file: give the certificate as well, or remove it",
    ),
    (
        "kafka: {security_protocol: SSL, tls: {ca_file: /does/not/exist}}",
        "FILE:1: kafka.tls.ca_file: '/does/not/exist' is not a file that can be read: correct the name or its rights",
    ),
    # Watches.
    (
        "watches: [{}]",
        (
            f"FILE:1: watches.0.resource: is missing: give it (What is watched: {', '.join(WATCHES)}; "
            "or list, any other, as the keys marked `list:` say)"
        ),
    ),
    (
        "watches:\n- resource: calls\n- resource: calls",
        "FILE:3: watches.1.name: 'calls' is the name of another watch: give each watch a name of its own",
    ),
    (
        "watches:\n- resource: calls\n  connection: west",
        "FILE:3: watches.0.connection: 'west' is not a connection: name one of connections (default)",
    ),
    (
        "watches: [{resource: alerts, emit: changes}]",
        "FILE:1: watches.0.emit: 'changes' is nothing for alerts, which never change: write created, or remove it",
    ),
    (
        "watches: [{resource: alerts, start_date: 2026-01-02, end_date: 2026-01-02}]",
        "FILE:1: watches.0.end_date: is not after start_date, so that nothing would match: set a later one",
    ),
    (
        "watches: [{resource: calls, start: 2026-01-01}]",
        "FILE:1: watches.0.start: '2026-01-01' is not a date-time with an offset: write it as 2026-01-31T00:00:00Z",
    ),
    (
        "watches: [{resource: calls, parent_call_sid: CA1}]",
        "FILE:1: watches.0.parent_call_sid: 'CA1' is not the SID of a call: copy it, CA and 32 hexadecimal digits",
    ),
    # Callbacks.
    (
        "roles: [callbacks]",
        (
            "FILE:1: callbacks.public_url: is missing: signatures cover the address that Twilio calls; "
            "set it, or leave callbacks out of roles"
        ),
    ),
    (
        "callbacks: {verify_signatures: false}",
        (
            "FILE:1: callbacks.verify_signatures: false would publish forged callbacks: "
            "remove it, or set development: true on a private machine"
        ),
    ),
    (
        "callbacks: {public_url: 'http://hooks.example.com'}",
        (
            "FILE:1: callbacks.public_url: 'http://hooks.example.com' would carry callbacks unencrypted: use https:// "
            "(http:// is only for loopback, or with development: true)"
        ),
    ),
    (
        "callbacks: {public_url: 'https://a_b.example.com'}",
        (
            "FILE:1: callbacks.public_url: 'a_b.example.com' holds an underscore, which Twilio refuses (21609): "
            "use a host name without one"
        ),
    ),
    (
        "callbacks: {public_url: 'https://example.com/?a=b'}",
        (
            "FILE:1: callbacks.public_url: 'https://example.com/?a=b' has a query or a fragment: "
            "leave out what begins with ? or #"
        ),
    ),
    (
        "callbacks: {public_url: 'https://example.com#rc=3'}",
        (
            "FILE:1: callbacks.public_url: 'https://example.com#rc=3' has a query or a fragment: "
            "leave out what begins with ? or #"
        ),
    ),
    (
        "callbacks: {public_url: example.com}",
        (
            "FILE:1: callbacks.public_url: 'example.com' is not an absolute address: "
            "write it as https://host or https://host/path"
        ),
    ),
    (
        "callbacks: {public_url: 'https://u:hidden@example.com'}",
        "FILE:1: callbacks.public_url: the address holds a user name or password: leave them out, and the @ with them",
    ),
    (
        "callbacks: {public_url: 'https://example.com:port'}",
        (
            "FILE:1: callbacks.public_url: the address cannot be read "
            "(Port could not be cast to integer value as 'port'): write it as https://host or https://host:port"
        ),
    ),
    (
        "callbacks: {connection_overrides: '#rc=3'}",
        (
            "FILE:1: callbacks.connection_overrides: '#rc=3' is not what Twilio reads in a fragment: "
            "write key=value joined by &, keys ct, rt, tt, rc, rp, sni and e, such as rc=5&rp=all"
        ),
    ),
    (
        "callbacks: {public_url: 'https://example.com', port: 9090}",
        "FILE:1: admin.port: 9090 is callbacks.port as well: choose another one",
    ),
    # Commands, administration.
    (
        "commands: {recording_store: 'ftp://x'}",
        (
            "FILE:1: commands.recording_store: 'ftp://x' is no store: "
            "write kafka, s3://bucket/prefix, gs://…, az://… or file:///folder"
        ),
    ),
    (
        "commands: {recording_store: 's3://key:hidden@bucket'}",
        (
            "FILE:1: commands.recording_store: the store's address holds credentials: "
            "leave them to the environment of the cloud's client"
        ),
    ),
    (
        "commands:\n  reply_topics:\n  - replies.*\n  - no/slash",
        (
            "FILE:4: commands.reply_topics.1: 'no/slash' is not a pattern of topics: "
            "use the characters of topic names, * for any text and ? for one character"
        ),
    ),
    (
        "admin:\n  host: 0.0.0.0",
        "FILE:1: admin.token: is missing: others can reach host 0.0.0.0; give one, or listen on 127.0.0.1",
    ),
    (
        "admin: {host: 0.0.0.0, token: '   fifteen-letters   '}",
        (
            "FILE:1: admin.token: is shorter than 16 characters, and others can reach host 0.0.0.0: give one that "
            "cannot be guessed, such as openssl rand -hex 24 prints, or listen on 127.0.0.1"
        ),
    ),
    (
        "admin: {host: 'a b'}",
        "FILE:1: admin.host: 'a b' is not a host to listen on: write 0.0.0.0, say",
    ),
]


@pytest.mark.parametrize(("text", "sentence"), SENTENCES, ids=[text[:40].strip() for text, _ in SENTENCES])
def test_a_mistake_is_told_with_its_line_its_key_and_a_remedy(tmp_path: Path, text: str, sentence: str) -> None:
    assert problems(tmp_path, text) == [sentence]


CONNECTIONS = [
    (
        "account_sid: AC12, auth_token: t",
        (
            "FILE:1: connections.default.account_sid: 'AC12' is not an account SID: "
            "copy it from the Console, AC and 32 hexadecimal digits"
        ),
    ),
    (
        "auth_token: t",
        "FILE:1: connections.default.account_sid: is missing: give it (The account: AC and 32 hexadecimal digits)",
    ),
    (
        f"account_sid: {SID}",
        (
            "FILE:1: connections.default.auth_token: is missing: "
            "give it, or api_key and api_secret, to authenticate requests"
        ),
    ),
    (
        f"account_sid: {SID}, api_key: {KEY}",
        "FILE:1: connections.default.api_secret: is missing: api_key needs its secret; give it, or remove api_key",
    ),
    (
        f"account_sid: {SID}, auth_token: t, api_secret: s",
        (
            "FILE:1: connections.default.api_key: is missing: api_secret belongs to a key; "
            "give the key's SID, or remove the secret"
        ),
    ),
    (
        f"account_sid: {SID}, auth_token: t, api_key: SK1, api_secret: s",
        (
            "FILE:1: connections.default.api_key: 'SK1' is not the SID of an API key: "
            "copy it from the Console, SK and 32 hexadecimal digits"
        ),
    ),
    (
        f"account_sid: {SID}, api_key: a-secret-in-the-place-of-its-key, api_secret: {KEY}",
        (
            "FILE:1: connections.default.api_key: the value is not the SID of an API key: "
            "copy it from the Console, SK and 32 hexadecimal digits"
        ),
    ),
    (
        f"account_sid: {SID}, auth_token: t, region: ie1",
        (
            "FILE:1: connections.default.region: 'ie1' without edge leads to a host that Twilio switched off on "
            "2026-04-28: add the edge (dublin), or remove region"
        ),
    ),
    (
        f"account_sid: {SID}, auth_token: t, api_url: 'http://proxy.example.com'",
        (
            "FILE:1: connections.default.api_url: 'http://proxy.example.com' would carry credentials unencrypted: "
            "use https:// (http:// is only for loopback, or with development: true)"
        ),
    ),
    (
        f"account_sid: {SID}, auth_token: t, monitor_url: 'http://proxy.example.com'",
        (
            "FILE:1: connections.default.monitor_url: 'http://proxy.example.com' would carry credentials unencrypted: "
            "use https:// (http:// is only for loopback, or with development: true)"
        ),
    ),
    (
        f"account_sid: {SID}, auth_token: t, product_urls: {{verify: 'http://proxy.example.com'}}",
        (
            "FILE:1: connections.default.product_urls.verify: 'http://proxy.example.com' would carry credentials "
            "unencrypted: use https:// (http:// is only for loopback, or with development: true)"
        ),
    ),
    (
        f"account_sid: {SID}, auth_token: t, product_urls: {{verfy: 'https://proxy.example.com'}}",
        "FILE:1: connections.default.product_urls.verfy: 'verfy' is not a host of Twilio's: did you mean verify?",
    ),
    (
        f"account_sid: {SID}, auth_token: t, message_segments_per_second: {{+15551234567: -1}}",
        (
            "FILE:1: connections.default.message_segments_per_second.+1555…67: '-1' is out of bounds: "
            "write at least 0 and at most 100000"
        ),
    ),
]


@pytest.mark.parametrize(("keys", "sentence"), CONNECTIONS, ids=[keys[-40:] for keys, _ in CONNECTIONS])
def test_a_mistake_in_a_connection_is_told(tmp_path: Path, keys: str, sentence: str) -> None:
    file = tmp_path / "connector.yaml"
    file.write_text(f"connections: {{default: {{{keys}}}}}")
    with pytest.raises(ConfigurationError) as caught:
        load(file, environ={})
    assert [problem.replace(str(file), "FILE") for problem in caught.value.problems] == [sentence]


def test_two_connections_of_one_account_are_refused(tmp_path: Path) -> None:
    text = f"connections:\n  a: {{account_sid: {SID}, auth_token: t}}\n  b: {{account_sid: {SID}, auth_token: t}}"
    assert problems(tmp_path, text) == [
        (
            "FILE:3: connections.b.account_sid: is the account of connection 'a' as well: "
            "keep one connection for each account"
        )
    ]


def test_a_connection_needs_a_name_that_a_variable_can_hold(tmp_path: Path) -> None:
    text = f"connections:\n  a b: {{account_sid: {SID}, auth_token: t}}"
    assert problems(tmp_path, text) == [
        "FILE:2: connections.a b: 'a b' cannot name a connection: use letters and digits, single hyphens between them"
    ]


def test_callbacks_need_a_token_even_with_an_api_key(tmp_path: Path) -> None:
    text = (
        "callbacks: {public_url: 'https://hooks.example.com'}\n"
        f"connections:\n  east: {{account_sid: {SID}, api_key: {KEY}, api_secret: s}}"
    )
    assert problems(tmp_path, text) == [
        (
            "FILE:3: connections.east.auth_token: is missing: callbacks are verified with it; "
            "give it, or leave callbacks out of roles"
        )
    ]


@pytest.mark.parametrize(
    "more", ["roles: [watch]", "development: true\ncallbacks: {public_url: 'https://x.com', verify_signatures: false}"]
)
def test_without_verified_callbacks_an_api_key_is_enough(more: str) -> None:
    given = {"account_sid": SID, "api_key": KEY, "api_secret": "s"}
    assert made(connections={"default": given}, **yaml.safe_load(more)).connections["default"].auth.username == KEY


def test_shared_keys_verify_callbacks_as_well() -> None:
    given = {"account_sid": SID, "api_key": KEY, "api_secret": "s", "shared_keys": {"KY1": "secret"}}
    assert "callbacks" in made(connections={"default": given}, callbacks={"public_url": "https://x.com"}).roles


FILTERS = {
    "to": "+15551234567",
    "from": "+15551234567",
    "parent_call_sid": CALL,
    "status": "completed",
    "call_sid": CALL,
    "conference_sid": "CF" + "0" * 32,
    "include_deleted": "true",
    "log_level": "error",
    "start_date": "2026-01-01",
    "end_date": "2026-02-01T00:00:00Z",
    "muted": "false",
    "beta": "true",
    "category": "sms",
    "conversion_status": "converted",
    "friendly_name": "support",
    "state": "closed",
}
ALLOWED = {
    "messages": {"to", "from"},
    "calls": {"to", "from", "parent_call_sid", "status"},
    "recordings": {"call_sid", "conference_sid", "include_deleted"},
    "transcriptions": set(),
    "alerts": {"log_level", "start_date", "end_date"},
    "conferences": {"friendly_name", "status"},
    "conversations": {"state"},
    "messaging-services": set(),
    "participants": {"muted"},
    "phone-numbers": {"friendly_name", "beta"},
    "usage-records-daily": {"category"},
    "verification-attempts": {"to", "conversion_status"},
}


@pytest.mark.parametrize("resource", ALLOWED)
@pytest.mark.parametrize("name", FILTERS)
def test_a_watch_takes_the_filters_of_its_resource_and_no_others(tmp_path: Path, resource: str, name: str) -> None:
    text = f"watches:\n- resource: {resource}\n  {name}: '{FILTERS[name]}'"
    if name in ALLOWED[resource]:
        (tmp_path / "connector.yaml").write_text(text)
        watch = load(tmp_path / "connector.yaml", environ=ENVIRONMENT).watches[0]
        assert set(watch.filters) == {name}
    else:
        known = f"is not a filter of {resource} (it has: "
        assert problems(tmp_path, text)[0].startswith(f"FILE:3: watches.0.{name}: {known}")


def test_a_filter_takes_the_values_that_its_list_knows(tmp_path: Path) -> None:
    text = "watches:\n- {resource: conferences, status: busy}\n- {resource: calls, status: busy}"
    sentence = "'busy' is nothing for conferences: write init, in-progress or completed"
    assert problems(tmp_path, text) == [f"FILE:2: watches.0.status: {sentence}"]


def test_a_list_under_parents_is_watched_by_its_name_alone(tmp_path: Path) -> None:
    (tmp_path / "connector.yaml").write_text("watches: [{resource: participants}]")
    (watch,) = load(tmp_path / "connector.yaml", environ=ENVIRONMENT).watches
    assert watch.row.under is not None


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    text = f"""\
kafka: {{partitions: six, security_protocol: SASL_SSL}}
connections:
  default: {{max_concurrency: none, api_key: {KEY}}}
  east: {{region: ie1, api_url: 'http://east.example.com'}}
watches:
- {{resource: messages, interval: soon, call_sid: {CALL}}}
- {{resource: fax, colour: red}}
- {{resource: messages, connection: west, start: today}}
admin: {{host: 0.0.0.0, port: 70000, port: 1}}
shutdown_grace: ${{GRACE}}
"""
    found = [problem.split(": ")[:2] for problem in problems(tmp_path, text, CONNECTOR_LOGS__LEVEL="info")]
    assert found == [
        ["FILE:1", "kafka.partitions"],
        ["FILE:1", "kafka.sasl"],
        ["FILE:3", "connections.default.max_concurrency"],
        ["FILE:3", "connections.default.api_secret"],
        ["FILE:4", "connections.east.account_sid"],
        ["FILE:4", "connections.east.auth_token"],
        ["FILE:4", "connections.east.api_url"],
        ["FILE:6", "watches.0.interval"],
        ["FILE:6", "watches.0.call_sid"],
        ["FILE:7", "watches.1.resource"],
        ["FILE:7", "watches.1.colour"],
        ["FILE:8", "watches.2.start"],
        ["FILE:8", "watches.2.name"],
        ["FILE:8", "watches.2.connection"],
        ["FILE:9", "admin.port"],
        ["FILE:9", "admin.port"],
        ["FILE:9", "admin.token"],
        ["FILE:10", "shutdown_grace"],
        ["CONNECTOR_LOGS__LEVEL", "logs.level"],
    ]


@pytest.mark.parametrize(
    "text",
    [
        "kafka: {security_protocol: SASLSSL, sasl: {mechanism: PLAIN, username: u, password: p}}",
        f"connections: {{default: {{account_sid: {SID}, auth_token: t, region: ie1, edge: D!}}}}",
        "development: yep!\ncallbacks: {verify_signatures: false}",
        "callbacks: {public_url: nowhere}\nroles: [callbacks]",
        "connections: {east: {account_sid: x, auth_token: t}}\nwatches: [{resource: calls, connection: east}]",
    ],
)
def test_nothing_is_told_that_is_wrong_only_because_of_another_mistake(tmp_path: Path, text: str) -> None:
    assert len(problems(tmp_path, text)) == 1


def test_secrets_are_never_shown(tmp_path: Path) -> None:
    text = f"""\
kafka: {{sasl: {{password: [hush-1], usrname: hush-2}}}}
connections:
  default: {{account_sid: {SID}, auth_token: {{a: hush-3}}, shared_keys: hush-4, additional_auth_tokens: [[hush-5]]}}
  east: hush-6
"""
    assert "hush" not in "\n".join(problems(tmp_path, text, CONNECTOR_CONNECTIONS__EAST__SHARED_KEYS="{a: hush-7"))


@pytest.mark.parametrize(
    "text", ["password: *hush", "password: %hush", "a: 'hush", "a: hush: hush", "a: !hush x", "- hush"]
)
def test_a_file_that_is_not_yaml_is_told_with_its_line_and_without_its_content(tmp_path: Path, text: str) -> None:
    (problem,) = problems(tmp_path, f"# first line\n{text}")
    assert problem.startswith("FILE:")
    assert "hush" not in problem


def test_values_made_in_python_are_checked_alike() -> None:
    with pytest.raises(ValidationError, match="api_key needs its secret"):
        Connection(account_sid=SID, api_key=KEY)


@pytest.mark.parametrize(
    ("given", "api", "monitor"),
    [
        ({}, "https://api.twilio.com", "https://monitor.twilio.com"),
        ({"edge": "dublin"}, "https://api.dublin.us1.twilio.com", "https://monitor.dublin.us1.twilio.com"),
        (
            {"edge": "dublin", "region": "ie1"},
            "https://api.dublin.ie1.twilio.com",
            "https://monitor.dublin.ie1.twilio.com",
        ),
        ({"region": "us1"}, "https://api.twilio.com", "https://monitor.twilio.com"),
        (
            {"edge": "dublin", "region": "ie1", "api_url": "https://proxy.example.com/twilio/"},
            "https://proxy.example.com/twilio",
            "https://monitor.dublin.ie1.twilio.com",
        ),
        ({"api_url": "http://127.0.0.1:8000"}, "http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        (
            {"api_url": "http://[::1]:1", "monitor_url": "http://localhost:2"},
            "http://[::1]:1",
            "http://localhost:2",
        ),
    ],
)
def test_addresses_follow_edge_and_region_unless_given(given: dict[str, str], api: str, monitor: str) -> None:
    connection = made(connections={"default": {**ONE["default"], **given}}).connections["default"]
    assert (connection.bases["api"], connection.bases["monitor"]) == (api, monitor)


def test_an_address_of_a_product_is_for_that_product_alone() -> None:
    given = {"api_url": "http://127.0.0.1:8000", "product_urls": {"verify": "https://proxy.example.com/"}}
    bases = made(connections={"default": {**ONE["default"], **given}}).connections["default"].bases
    assert bases == {**dict.fromkeys(HOSTS, "http://127.0.0.1:8000"), "verify": "https://proxy.example.com"}


def test_an_address_of_a_product_may_come_from_a_variable() -> None:
    name = "CONNECTOR_CONNECTIONS__DEFAULT__PRODUCT_URLS__FLEX-API"
    environ = {"TWILIO_ACCOUNT_SID": SID, "TWILIO_AUTH_TOKEN": TOKEN, name: "https://proxy.example.com"}
    assert load(environ=environ).connections["default"].bases["flex-api"] == "https://proxy.example.com"


def test_requests_are_authenticated_by_the_api_key_and_callbacks_by_the_tokens() -> None:
    tokens = {"auth_token": "first", "additional_auth_tokens": ["second"]}
    connection = Connection.model_validate({"account_sid": SID, "api_key": KEY, "api_secret": "s", **tokens})
    assert (connection.auth.username, connection.auth.password.get_secret_value()) == (KEY, "s")
    assert [token.get_secret_value() for token in connection.signing_tokens] == ["first", "second"]


def test_without_an_api_key_account_and_token_authenticate() -> None:
    auth = made().connections["default"].auth
    assert (auth.username, auth.password.get_secret_value()) == (SID, TOKEN)


def test_segments_are_paced_by_sender_with_a_default() -> None:
    paces = {"default": 2, "+15551234567": 0}
    connection = Connection.model_validate({**ONE["default"], "message_segments_per_second": paces})
    assert [connection.segments_per_second(sender) for sender in ("+15551234567", "ACME", None)] == [0, 2, 2]


def test_the_default_watches_are_all_resources_of_all_connections() -> None:
    connections = {**ONE, "east": {"account_sid": OTHER_SID, "auth_token": "t"}}
    watches = made(connections=connections).watches
    resources = ["alerts", "calls", "messages", "recordings", "transcriptions"]
    assert [(watch.name, watch.connection) for watch in watches] == [
        *((resource, "default") for resource in resources),
        *((f"east-{resource}", "east") for resource in resources),
    ]
    assert {watch.start for watch in watches} == {"now"}


def test_an_empty_list_of_watches_is_none() -> None:
    assert made(watches=[]).watches == ()


def test_a_watch_is_called_like_its_resource_unless_named() -> None:
    assert WatchSettings(resource="calls").name == "calls"
    assert WatchSettings(resource="calls", name="inbound").name == "inbound"


def test_callbacks_are_received_by_default_only_where_twilio_can_reach_us() -> None:
    assert made().roles == ("watch", "commands")
    assert made(callbacks={"public_url": "https://hooks.example.com"}).roles == ("watch", "callbacks", "commands")
    assert made(callbacks={"public_url": "https://hooks.example.com"}, roles=["watch"]).roles == ("watch",)


@pytest.mark.parametrize("address", ["http://localhost:1", "http://127.9.9.9", "http://[::1]:80", "http://a.localhost"])
def test_loopback_addresses_may_be_http(address: str) -> None:
    assert made(callbacks={"public_url": address}).callbacks.public_url == address


def test_development_allows_http_and_unverified_callbacks() -> None:
    open_hooks = {"public_url": "http://hooks", "verify_signatures": False}
    made(development=True, callbacks=open_hooks, connections={"default": {**ONE["default"], "api_url": "http://sim:1"}})


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "[::1]", "localhost"])
def test_the_admin_port_needs_no_token_on_loopback(host: str) -> None:
    assert made(admin={"host": host}).admin.token is None


def test_on_loopback_a_token_may_be_short_and_elsewhere_it_has_16_characters() -> None:
    assert made(admin={"token": "x"}).admin.token is not None
    assert made(admin={"host": "10.0.0.1", "token": "x" * 16}).admin.token is not None


def test_topics_begin_with_the_prefix() -> None:
    assert made(kafka={"topic_prefix": "acme.twilio"}).topic("messages") == "acme.twilio.messages"


@pytest.mark.parametrize("store", ["kafka", "s3://bucket", "s3://bucket/a/b/", "gs://b/p", "az://c/p", "file:///data"])
def test_recordings_go_to_kafka_or_to_an_object_store(store: str) -> None:
    assert made(commands={"recording_store": store}).commands.recording_store == store.rstrip("/")


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        made().kafka.partitions = 1  # type: ignore[misc]  # what the test is about


CONTRACT = f"""\
roles: [watch, callbacks, commands]
kafka:
  bootstrap_servers: localhost:9092
  topic_prefix: twilio
  partitions: 6
  replication_factor: 3
  security_protocol: SASL_SSL
  sasl: {{mechanism: SCRAM-SHA-512, username: u, password: p}}
  tls: {{ca_file: /dev/null, cert_file: /dev/null, key_file: /dev/null, key_password: p}}
  compression: none
  envelope: binary
connections:
  default:
    account_sid: {SID}
    auth_token: t
    additional_auth_tokens: []
    shared_keys: {{}}
    api_key: {KEY}
    api_secret: s
    region: ie1
    edge: dublin
    api_url: https://api.twilio.com
    monitor_url: https://monitor.twilio.com
    max_concurrency: 50
    calls_per_second: 1
    message_segments_per_second: {{default: 0, "+15551234567": 1}}
watches:
  - name: inbound
    resource: messages
    connection: default
    interval: 15s
    start: now
    limit: 1000
    emit: created
    overlap: 10m
    to: "+15551234567"
    from: "+15551234568"
  - {{resource: calls, parent_call_sid: {CALL}, status: completed}}
  - {{resource: recordings, call_sid: {CALL}, include_deleted: false}}
  - {{resource: alerts, log_level: error, start_date: "2026-01-01", end_date: "2026-01-31T00:00:00Z"}}
callbacks:
  host: 0.0.0.0
  port: 8080
  public_url: https://hooks.example.com
  verify_signatures: true
  connection_overrides: "rc=3"
  max_body: 64KiB
commands:
  max_in_flight: 256
  in_doubt: report
  settle_time: 30s
  dedupe_window: 1h
  reply_topics: []
  recording_store: kafka
admin:
  host: 127.0.0.1
  port: 9090
  token: t
log: {{level: info, format: auto}}
shutdown_grace: 25s
"""


def test_a_file_with_every_documented_key_is_valid_and_fits_the_schema(tmp_path: Path) -> None:
    (tmp_path / "connector.yaml").write_text(CONTRACT)
    assert load(tmp_path / "connector.yaml", environ={}).connections["default"].max_concurrency == 50
    jsonschema_rs.validate(json_schema(), yaml.safe_load(CONTRACT))


def test_the_schema_refuses_what_the_settings_refuse() -> None:
    validator = jsonschema_rs.validator_for(json_schema())
    refused: tuple[dict[str, Any], ...] = (
        {"kafka": {"partition": 1}},
        {"watches": [{}]},
        {"shutdown_grace": "25"},
        {"log": {"level": "loud"}},
        {"connections": {"default": {"account_sid": "AC1"}}},
    )
    assert not any(validator.is_valid(configuration) for configuration in refused)


def test_every_setting_is_described() -> None:
    described = {path: shape.info.description if shape.info else None for path, shape in leaves()}
    free = {
        ("connections", "default", "message_segments_per_second", "default"),
        ("connections", "default", "product_urls", "default"),
        ("connections", "default", "shared_keys", "default"),
        ("watches", 0, "filters", "default"),
        ("watches", 0, "final", "default"),
    }
    assert {path for path, description in described.items() if not description} == free


texts = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
trees = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            texts | st.sampled_from([str(key) for path, _ in leaves() for key in path]), inner, max_size=4
        )
    ),
    max_leaves=20,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(document=st.dictionaries(st.sampled_from(list(Settings.model_fields)), trees, max_size=5))
def test_whatever_the_file_holds_it_is_valid_or_told(tmp_path: Path, document: dict[str, Any]) -> None:
    file = tmp_path / "any.yaml"
    file.write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")
    try:
        load(file, environ=ENVIRONMENT)
    except ConfigurationError as error:
        told = error.problems
        assert told
        assert all(problem.startswith((f"{file}:", "TWILIO_", "CONNECTOR_")) for problem in told)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
def test_whatever_the_text_of_the_file_it_is_valid_or_told(tmp_path: Path, text: str) -> None:
    file = tmp_path / "any.yaml"
    file.write_text(text, encoding="utf-8")
    try:
        load(file, environ=ENVIRONMENT)
    except ConfigurationError as error:
        told = error.problems
        assert told
