"""Where settings come from: file, environment, mounted secrets, options; which one wins; and what `config` shows."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connector.errors import ConfigurationError
from connector.settings import Loaded, Settings, effective, load, load_with_origins, reread_secrets
from connector.settings.environment import ALIASES
from connector.settings.shape import leaves
from tests.forked import completed

SID = "AC" + "0123456789abcdef" * 2
OTHER_SID = "AC" + "f" * 32
KEY = "SK" + "0" * 32
ACCOUNT = {"TWILIO_ACCOUNT_SID": SID, "TWILIO_AUTH_TOKEN": "hush-alias"}


def written(folder: Path, text: str, name: str = "connector.yaml") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def problems(path: Path | None, **environ: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(path, environ=environ)
    return list(caught.value.problems)


def token(loaded: Settings, connection: str = "default") -> str | None:
    secret = loaded.connections[connection].auth_token
    return secret.get_secret_value() if secret else None


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_three_variables_are_a_configuration() -> None:
    found = load(environ={**ACCOUNT, "KAFKA_BOOTSTRAP_SERVERS": "broker:9092"})
    assert found.kafka.bootstrap_servers == "broker:9092"
    assert found.connections["default"].account_sid == SID
    assert [watch.name for watch in found.watches] == ["alerts", "calls", "messages", "recordings", "transcriptions"]
    assert found.roles == ("watch", "commands")


def test_no_configuration_at_all_is_refused_with_the_way_out() -> None:
    assert problems(None) == [
        (
            "TWILIO_ACCOUNT_SID: connections: no Twilio account is configured: set TWILIO_ACCOUNT_SID and "
            "TWILIO_AUTH_TOKEN, or name a file that has connections with -c FILE or CONNECTOR_CONFIG"
        )
    ]


def test_commands_that_only_need_kafka_do_without_connections() -> None:
    assert load(environ={}, need_connections=False).connections == {}


def test_the_error_has_the_exit_code_of_bad_configuration() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(environ={})
    assert caught.value.exit_code == 78


@pytest.mark.parametrize("variable", ALIASES)
def test_each_alias_sets_its_key_and_gives_way_to_the_variable_of_the_connector(variable: str) -> None:
    values = {"account_sid": (SID, OTHER_SID), "api_key": (KEY, "SK" + "1" * 32), "bootstrap_servers": ("a:1", "b:2")}
    alias, own = values.get(str(ALIASES[variable][-1]), ("a", "b"))
    rest = {
        "TWILIO_ACCOUNT_SID": SID,
        "TWILIO_AUTH_TOKEN": "t",
        "TWILIO_API_KEY": KEY,
        "TWILIO_API_SECRET": "s",
        "TWILIO_EDGE": "e",
    }
    name = "CONNECTOR_" + "__".join(str(segment).upper() for segment in ALIASES[variable])
    for environ, value, origin in (({variable: alias}, alias, variable), ({variable: alias, name: own}, own, name)):
        loaded = load_with_origins(environ={**rest, **environ})
        found: Any = loaded.settings.model_dump()
        for segment in ALIASES[variable]:
            found = found[segment]
        assert getattr(found, "get_secret_value", lambda found=found: found)() == value
        assert str(loaded.origin(ALIASES[variable])) == origin


def test_aliases_leave_the_connections_of_a_file_alone_unless_one_is_called_default(tmp_path: Path) -> None:
    file = written(tmp_path, f"connections: {{east: {{account_sid: {OTHER_SID}, auth_token: t}}}}")
    loaded = load_with_origins(file, environ=ACCOUNT)
    assert list(loaded.settings.connections) == ["east"]
    assert loaded.notes == (
        "TWILIO_ACCOUNT_SID is ignored: no connection is called default (east)",
        "TWILIO_AUTH_TOKEN is ignored: no connection is called default (east)",
    )
    file.write_text(f"connections: {{default: {{}}, east: {{account_sid: {OTHER_SID}, auth_token: t}}}}")
    assert load(file, environ=ACCOUNT).connections["default"].account_sid == SID


SOURCES = ("yaml", "alias file", "alias", "own file", "own", "option")


@pytest.mark.parametrize("present", [set(some) for some in product((None, *SOURCES), repeat=2) if some != (None, None)])
def test_of_several_sources_the_higher_one_wins(tmp_path: Path, present: set[str | None]) -> None:
    text = "{auth_token: yaml}" if "yaml" in present else "{}"
    file = written(tmp_path, f"connections: {{default: {text}}}")
    environ = {"TWILIO_ACCOUNT_SID": SID}
    variables = {"alias": "TWILIO_AUTH_TOKEN", "own": "CONNECTOR_CONNECTIONS__DEFAULT__AUTH_TOKEN"}
    for source, variable in variables.items():
        if source in present:
            environ[variable] = source
        if f"{source} file" in present:
            environ[f"{variable}_FILE"] = str(written(tmp_path, f"{source} file\n", f"{source}.txt"))
    overrides = {"connections.default.auth_token": "option"} if "option" in present else {}
    expected = max(SOURCES.index(source) for source in present if source)
    assert token(load(file, environ=environ, overrides=overrides)) == SOURCES[expected]


def test_options_that_are_not_given_change_nothing() -> None:
    found = load(environ=ACCOUNT, overrides={"kafka.topic_prefix": None, "admin.port": 0, "roles": ["watch"]})
    assert (found.kafka.topic_prefix, found.admin.port, found.roles) == ("twilio", 0, ("watch",))


def test_a_wrong_option_is_told_as_such() -> None:
    with pytest.raises(ConfigurationError, match=r"^command line: admin.port: 70000 is out of bounds"):
        load(environ=ACCOUNT, overrides={"admin.port": 70000})


def test_the_file_is_the_option_else_the_variable_else_connector_yaml(tmp_path: Path) -> None:
    environ = dict(ACCOUNT)
    assert load(environ=environ).kafka.topic_prefix == "twilio"
    written(tmp_path, "kafka: {topic_prefix: here}")
    assert load(environ=environ).kafka.topic_prefix == "here"
    environ["CONNECTOR_CONFIG"] = str(written(tmp_path, "kafka: {topic_prefix: named}", "named.yaml"))
    assert load(environ=environ).kafka.topic_prefix == "named"
    given_file = written(tmp_path, "kafka: {topic_prefix: given}", "given.yaml")
    assert load(given_file, environ=environ).kafka.topic_prefix == "given"


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    way_out = "cannot be read (No such file or directory): name a readable YAML file with -c or CONNECTOR_CONFIG"
    assert problems(Path("none.yaml"), **ACCOUNT) == [f"none.yaml: {way_out}"]
    assert problems(None, CONNECTOR_CONFIG="none.yaml") == [f"CONNECTOR_CONFIG: none.yaml {way_out}"]
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8 text" in problems(binary, **ACCOUNT)[0]


def test_an_empty_file_is_like_none(tmp_path: Path) -> None:
    assert load(written(tmp_path, "# nothing yet\n"), environ=ACCOUNT) == load(environ=ACCOUNT)


def test_variables_in_the_file_are_replaced(tmp_path: Path) -> None:
    text = """\
kafka: {topic_prefix: "${ZONE}.twilio", partitions: "${COUNT:-12}"}
connections: {default: {auth_token: "a$${b}$c", edge: "${EDGE:-}", region: ${EDGE:-}}}
roles: ${ROLES}
admin: {host: ${EMPTY:-localhost}} # ${NOT_SET}
"""
    file = written(tmp_path, text)
    found = load(file, environ={"ZONE": "eu", "ROLES": "watch, commands", "EMPTY": "", "TWILIO_ACCOUNT_SID": SID})
    assert (found.kafka.topic_prefix, found.kafka.partitions, found.roles) == ("eu.twilio", 12, ("watch", "commands"))
    assert (found.connections["default"].edge, found.connections["default"].region) == (None, None)
    assert (token(found), found.admin.host) == ("a${b}$c", "localhost")


def test_a_variable_that_is_not_set_is_told_with_its_line(tmp_path: Path) -> None:
    file = written(tmp_path, "kafka:\n  topic_prefix: ${ZONE}\n  partitions: ${COUNT")
    assert problems(file, **ACCOUNT) == [
        (
            f"{file}:2: kafka.topic_prefix: the environment variable ZONE is not set: "
            "set it, or give a default as in ${ZONE:-default}"
        ),
        (
            f"{file}:3: kafka.partitions: holds a ${{ that is not ${{VAR}} or ${{VAR:-default}}: "
            "close it, or write $${ for the two characters"
        ),
    ]


def test_a_key_that_is_given_twice_is_told_with_both_lines(tmp_path: Path) -> None:
    file = written(tmp_path, "log: {level: info}\nkafka: {}\nlog: {level: debug}")
    assert problems(file, **ACCOUNT) == [f"{file}:3: log: is given twice, first in line 1: remove one of them"]


def test_scalars_keep_their_text_whatever_yaml_would_make_of_them(tmp_path: Path) -> None:
    text = f"""\
connections:
  default: {{account_sid: {SID}, auth_token: 0123456789, message_segments_per_second: {{+15551234567: 1}}}}
watches:
- {{resource: messages, name: yes, to: +15551234567}}
- {{resource: alerts, start_date: 2026-01-01}}
"""
    found = load(written(tmp_path, text), environ={})
    assert token(found) == "0123456789"
    assert found.connections["default"].segments_per_second("+15551234567") == 1
    assert (found.watches[0].name, found.watches[0].to) == ("yes", "+15551234567")
    assert found.watches[1].filters["start_date"].isoformat() == "2026-01-01T00:00:00+00:00"  # type: ignore[union-attr]  # a date


def test_anchors_and_merge_keys_work(tmp_path: Path) -> None:
    text = """\
watches:
- &slow {resource: messages, interval: 1h, overlap: 1d}
- {<<: *slow, resource: calls, interval: 2h}
"""
    slow = load(written(tmp_path, text), environ=ACCOUNT).watches[1]
    assert (slow.resource, slow.interval.total_seconds(), slow.overlap.total_seconds()) == ("calls", 7200, 86_400)


@pytest.mark.parametrize("text", ["kafka: &a {tls: *a}", "log: &a {<<: *a}", "roles: &a [*a]"])
def test_a_file_that_holds_itself_is_told(tmp_path: Path, text: str) -> None:
    assert any("nests too deep" in problem for problem in problems(written(tmp_path, text), **ACCOUNT))


def test_an_unknown_variable_is_refused_with_the_nearest_name() -> None:
    names = {
        "CONNECTOR_KAFKA__BOOTSTRAP_SERVER": "did you mean CONNECTOR_KAFKA__BOOTSTRAP_SERVERS?",
        "CONNECTOR_KAFKA_TOPIC_PREFIX": "did you mean CONNECTOR_KAFKA__TOPIC_PREFIX?",
        "CONNECTOR_CONNECTIONS__DEFAULT__AUTH_TOKEN_FILES": "did you mean "
        "CONNECTOR_CONNECTIONS__DEFAULT__AUTH_TOKEN_FILE?",
        "CONNECTOR_KAFKA__TOPIC_PREFIX_FILE": "did you mean CONNECTOR_KAFKA__TOPIC_PREFIX?",
        "CONNECTOR_CONFIGURATION": "did you mean CONNECTOR_CONFIG?",
        "CONNECTOR_WATCHES__FIRST__RESOURCE": "did you mean CONNECTOR_WATCHES__0__RESOURCE?",
        "CONNECTOR_QQQ": "unset the variable",
        "CONNECTOR_": "unset the variable",
    }
    found = problems(None, **ACCOUNT, **dict.fromkeys(names, "hush"))
    assert {problem.split(":")[0]: problem.rsplit(": ", 1)[1] for problem in found} == names
    assert "CONNECTOR_KAFKA__BOOTSTRAP_SERVER: kafka.bootstrap_server: is not a setting: " in "\n".join(found)


def test_variables_that_kubernetes_makes_are_told_apart() -> None:
    (problem,) = problems(None, **ACCOUNT, CONNECTOR_PORT_8080_TCP_ADDR="10.0.0.1")
    assert problem.endswith(
        "comes from Kubernetes for a Service of that name: set enableServiceLinks: false in the pod"
    )


def test_an_empty_variable_counts_as_not_set(tmp_path: Path) -> None:
    file = written(tmp_path, "kafka: {topic_prefix: mine}")
    environ = {**ACCOUNT, "CONNECTOR_KAFKA__TOPIC_PREFIX": "", "TWILIO_EDGE": "", "CONNECTOR_WATCHES": ""}
    assert load(file, environ=environ).kafka.topic_prefix == "mine"


@pytest.mark.parametrize("text", ["callbacks: {connection_overrides: ''}", "callbacks: {connection_overrides: }"])
def test_connection_overrides_are_disabled_by_an_empty_text(tmp_path: Path, text: str) -> None:
    assert load(written(tmp_path, text), environ=ACCOUNT).callbacks.connection_overrides == ""
    environ = {**ACCOUNT, "CONNECTOR_CALLBACKS__CONNECTION_OVERRIDES": ""}
    assert load(environ=environ).callbacks.connection_overrides == ""


def test_variables_reach_connections_lists_and_single_watches(tmp_path: Path) -> None:
    file = written(tmp_path, f"connections: {{US-East_1: {{account_sid: {SID}}}}}\nwatches: [{{resource: calls}}]")
    found = load(
        file,
        environ={
            "CONNECTOR_CONNECTIONS__US_EAST_1__AUTH_TOKEN": "hush",
            "CONNECTOR_CONNECTIONS__WEST_2__ACCOUNT_SID": OTHER_SID,
            "CONNECTOR_CONNECTIONS__WEST_2": '{"auth_token": "west", "shared_keys": {"KYabc": "k"}}',
            "CONNECTOR_COMMANDS__REPLY_TOPICS": '["a.*", "b"]',
            "CONNECTOR_WATCHES__0__CONNECTION": "west-2",
            "CONNECTOR_WATCHES__1": '{"resource": "alerts"}',
            "CONNECTOR_WATCHES__1__CONNECTION": "US-East_1",
        },
    )
    assert (token(found, "US-East_1"), token(found, "west-2")) == ("hush", "west")
    assert list(found.connections["west-2"].shared_keys) == ["KYabc"]
    assert found.commands.reply_topics == ("a.*", "b")
    assert [(watch.resource, watch.connection) for watch in found.watches] == [
        ("calls", "west-2"),
        ("alerts", "US-East_1"),
    ]


def test_a_list_in_a_variable_has_no_gaps_and_a_section_is_json() -> None:
    found = problems(
        None, **ACCOUNT, CONNECTOR_WATCHES__2__RESOURCE="calls", CONNECTOR_KAFKA="{hush", CONNECTOR_LOG="hush"
    )
    assert found == [
        "CONNECTOR_KAFKA: kafka: cannot be read: write the value as JSON",
        "CONNECTOR_LOG: log: 'hush' is not a mapping: write lines of key: value below it",
        (
            "CONNECTOR_WATCHES__2__RESOURCE: watches.2.resource: is not a position in a list of 0: "
            "count from 0 without a gap"
        ),
    ]


def test_secrets_are_read_from_files_without_their_last_new_line(tmp_path: Path) -> None:
    secrets = {
        name: str(written(tmp_path, text, name))
        for name, text in {
            "token": "hush\n",
            "more": "one\ntwo\n",
            "keys": '{"KY1": "k"}',
            "sid": SID,
            "sasl": " p \n",
        }.items()
    }
    found = load(
        environ={
            "TWILIO_ACCOUNT_SID_FILE": secrets["sid"],
            "TWILIO_AUTH_TOKEN_FILE": secrets["token"],
            "CONNECTOR_CONNECTIONS__DEFAULT__ADDITIONAL_AUTH_TOKENS_FILE": secrets["more"],
            "CONNECTOR_CONNECTIONS__DEFAULT__SHARED_KEYS_FILE": secrets["keys"],
            "CONNECTOR_KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
            "CONNECTOR_KAFKA__SASL": '{"mechanism": "PLAIN", "username": "u"}',
            "CONNECTOR_KAFKA__SASL__PASSWORD_FILE": secrets["sasl"],
        }
    )
    connection = found.connections["default"]
    assert [secret.get_secret_value() for secret in connection.signing_tokens] == ["hush", "one", "two"]
    assert connection.shared_keys["KY1"].get_secret_value() == "k"
    assert found.kafka.sasl is not None
    assert found.kafka.sasl.password is not None
    assert found.kafka.sasl.password.get_secret_value() == " p "


def test_a_secret_whose_file_is_not_there_is_told_once() -> None:
    assert problems(None, TWILIO_ACCOUNT_SID=SID, TWILIO_AUTH_TOKEN_FILE="/does/not/exist") == [
        (
            "TWILIO_AUTH_TOKEN_FILE: connections.default.auth_token: the file /does/not/exist cannot be read "
            "(No such file or directory): name a readable file with the secret"
        )
    ]


# The same values by file and by environment.

LEAVES: dict[str, st.SearchStrategy[str]] = {
    "development": st.sampled_from(["true", "false", "yes", "0"]),
    "roles": st.lists(st.sampled_from(["watch", "commands"]), min_size=1).map(",".join),
    "kafka.bootstrap_servers": st.sampled_from(["a:1", "a:1,b:2", "[::1]:9092"]),
    "kafka.topic_prefix": st.from_regex(r"\A[a-z][a-z0-9.-]{0,5}[a-z]\Z"),
    "kafka.partitions": st.integers(1, 10_000).map(str),
    "kafka.compression": st.sampled_from(["none", "gzip", "zstd"]),
    "connections.default.auth_token": st.text(
        st.characters(codec="ascii", categories=["L", "N", "P", "S"]), min_size=1
    ),
    "connections.default.calls_per_second": st.floats(0, 100).map(str),
    "connections.default.message_segments_per_second.default": st.integers(0, 100).map(str),
    "connections.east.account_sid": st.just(OTHER_SID),
    "connections.east.auth_token": st.just("east"),
    "watches.0.resource": st.sampled_from(["messages", "calls"]),
    "watches.0.to": st.from_regex(r"\A\+[1-9][0-9]{10}\Z"),
    "watches.0.interval": st.sampled_from(["1s", "500ms", "1h30m", "10m"]),
    "watches.0.start": st.sampled_from(["now", "2026-01-31T00:00:00Z", "2026-01-31T00:00:00-05:00"]),
    "callbacks.connection_overrides": st.sampled_from(["", "rc=5", "rc=5&rp=all"]),
    "callbacks.max_body": st.sampled_from(["64KiB", "1MiB", "2048"]),
    "commands.reply_topics": st.lists(st.from_regex(r"\A[a-z.*]{1,5}\Z"), max_size=3).map(",".join),
    "admin.token": st.from_regex(r"\A[A-Za-z0-9]{16,20}\Z"),
    "log.level": st.sampled_from(["debug", "error"]),
    "shutdown_grace": st.integers(1, 3600).map(lambda seconds: f"{seconds}s"),
}
REQUIRED = ("connections.east.account_sid", "connections.east.auth_token", "watches.0.resource")
choices = st.fixed_dictionaries(
    {key: LEAVES[key] for key in REQUIRED},
    optional={key: strategy for key, strategy in LEAVES.items() if key not in REQUIRED},
)


def nested(values: Mapping[str, str]) -> dict[str, Any]:
    """Dotted keys as the file nests them."""
    tree: dict[str, Any] = {}
    for key, value in values.items():
        *above, last = key.split(".")
        below = tree
        for segment in above:
            below = below.setdefault(segment, {})
        below[last] = value
    tree["watches"] = [tree["watches"]["0"]]
    return tree


def variables(values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if value or key == "callbacks.connection_overrides":
            yield "CONNECTOR_" + key.upper().replace(".", "__"), value


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=choices)
def test_file_and_environment_give_the_same_settings(tmp_path: Path, values: dict[str, str]) -> None:
    escaped = {key: value.replace("${", "$${") for key, value in values.items()}
    file = written(tmp_path, yaml.safe_dump(nested(escaped)), "same.yaml")
    account = {**ACCOUNT, "CONNECTOR_CONNECTIONS__DEFAULT__ACCOUNT_SID": SID}
    by_file = load(file, environ=account)
    by_environment = load(environ={**account, **dict(variables(values))})
    default = "connections.default.auth_token"
    if default in values:
        assert token(by_environment) == values[default]
        by_file = load(file, environ={"TWILIO_ACCOUNT_SID": SID})
    assert by_environment == by_file


names = st.lists(
    st.sampled_from([str(key).upper() for path, _ in leaves() for key in path] + ["0", "1", "X", "", "FILE"]),
    max_size=4,
).map(lambda segments: "CONNECTOR_" + "__".join(segments))
values = st.sampled_from(["x", "1", "[]", "{}", "null", '[{"resource": "calls"}]', '{"default": null}', "{", "&a [*a]"])


@given(
    environ=st.dictionaries(names | names.map(lambda name: f"{name}_FILE"), values | st.text(max_size=5), max_size=5)
)
def test_whatever_the_environment_holds_it_is_valid_or_told(environ: dict[str, str]) -> None:
    try:
        load(environ={**ACCOUNT, **environ})
    except ConfigurationError as error:
        told = error.problems
        assert told
        assert all(problem.startswith(("CONNECTOR_", "TWILIO_")) for problem in told)


# Origins and masking.


def shown(loaded: Loaded) -> dict[str, tuple[Any, str]]:
    return {row.key: (row.value, str(row.origin)) for row in effective(loaded)}


def test_every_value_has_its_origin_and_secrets_are_masked(tmp_path: Path) -> None:
    text = f"""\
kafka:
  topic_prefix: mine
connections:
  default:
    shared_keys: {{KY1: hush-1}}
    additional_auth_tokens: [hush-2, hush-3]
    api_key: {KEY}
    api_secret: hush-4
watches:
- resource: calls
  interval: 90s
"""
    file = written(tmp_path, text)
    mounted = written(tmp_path, "hush-5", "admin-token")
    environ = {**ACCOUNT, "CONNECTOR_ROLES": "watch", "CONNECTOR_ADMIN__TOKEN_FILE": str(mounted)}
    rows = shown(load_with_origins(file, environ=environ, overrides={"admin.port": 0}))
    connection = "connections.default"
    assert rows["kafka.topic_prefix"] == ("mine", f"{file}:2")
    assert rows["kafka.partitions"] == (6, "default")
    assert rows["roles"] == (["watch"], "CONNECTOR_ROLES")
    assert rows[f"{connection}.account_sid"] == (SID, "TWILIO_ACCOUNT_SID")
    assert rows[f"{connection}.auth_token"] == ("********", "TWILIO_AUTH_TOKEN")
    assert rows[f"{connection}.shared_keys.KY1"] == ("********", f"{file}:5")
    assert rows[f"{connection}.additional_auth_tokens"] == (["********", "********"], f"{file}:6")
    assert rows[f"{connection}.api_secret"] == ("********", f"{file}:8")
    assert rows["watches.0.interval"] == ("1m30s", f"{file}:11")
    assert rows["watches.0.name"] == ("calls", "default")
    assert rows["admin.token"] == ("********", "CONNECTOR_ADMIN__TOKEN_FILE")
    assert rows["admin.port"] == (0, "command line")
    assert rows["callbacks.max_body"] == ("64KiB", "default")
    assert "watches.0.log_level" not in rows
    assert "hush" not in json.dumps(rows)


def test_neither_settings_nor_what_they_were_made_of_show_secrets_when_printed(tmp_path: Path) -> None:
    file = written(tmp_path, f"connections: {{default: {{account_sid: {SID}, auth_token: hush}}}}")
    loaded = load_with_origins(file, environ={})
    assert "hush" not in f"{loaded!r} {loaded} {loaded.settings!r} {loaded.settings}"


# SIGHUP.


def test_secrets_are_read_again_and_nothing_else(tmp_path: Path) -> None:
    text = """\
kafka:
  topic_prefix: {prefix}
  security_protocol: SASL_SSL
  sasl: {{mechanism: PLAIN, username: {user}, password: p{n}}}
connections:
  default: {{account_sid: {sid}, api_key: {key}, api_secret: s{n}, shared_keys: {{KY{n}: k}}, calls_per_second: {n}}}
"""
    file = written(tmp_path, text.format(prefix="before", user="u1", n=1, sid=SID, key=KEY))
    mounted = written(tmp_path, "first", "token")
    before = load_with_origins(file, environ={"TWILIO_AUTH_TOKEN_FILE": str(mounted)})
    mounted.write_text("second")
    file.write_text(text.format(prefix="after", user="u2", n=2, sid=OTHER_SID, key=KEY.replace("0", "1")))
    after = reread_secrets(before).settings
    connection, sasl = after.connections["default"], after.kafka.sasl
    assert sasl is not None
    assert sasl.password is not None
    assert (after.kafka.topic_prefix, connection.account_sid, connection.calls_per_second) == ("before", SID, 1)
    assert (sasl.username, sasl.password.get_secret_value(), list(connection.shared_keys)) == ("u2", "p2", ["KY2"])
    assert (connection.auth.username, connection.auth.password.get_secret_value()) == (KEY.replace("0", "1"), "s2")
    assert (token(before.settings), token(after)) == ("first", "second")


def test_what_cannot_be_read_again_leaves_the_settings_as_they_are(tmp_path: Path) -> None:
    mounted = written(tmp_path, "first", "token")
    before = load_with_origins(environ={"TWILIO_ACCOUNT_SID": SID, "TWILIO_AUTH_TOKEN_FILE": str(mounted)})
    mounted.unlink()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        reread_secrets(before)
    assert token(before.settings) == "first"


# The command line.


def _kept() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own."""
    return subprocess.run(  # noqa: S603  # our own interpreter and code
        [sys.executable, *arguments],
        env={**_kept(), "PYTHONPATH": str(Path(__file__).parents[1]), **environ},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def config(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `twilio-kafka config` as a user does."""
    return completed("config", *arguments, env={**_kept(), **environ})


def test_check_says_that_a_configuration_is_valid(tmp_path: Path) -> None:
    file = written(tmp_path, "kafka: {topic_prefix: mine}")
    done = config("check", "-c", str(file), **ACCOUNT)
    assert (done.returncode, done.stdout) == (0, f"{file} is valid\n")
    assert config("check", **{**ACCOUNT, "CONNECTOR_CONFIG": ""}).stdout == "connector.yaml is valid\n"


def test_check_ends_with_78_and_all_problems(tmp_path: Path) -> None:
    file = written(tmp_path, "kafka: {partitions: six}\nlog: {level: loud}")
    done = config("check", "-c", str(file), **ACCOUNT)
    assert (done.returncode, done.stdout) == (78, "")
    assert [line.split(": ")[1] for line in done.stderr.splitlines()] == ["kafka.partitions", "log.level"]


def test_show_prints_values_with_origins_for_people_and_for_machines() -> None:
    text = config("show", **ACCOUNT).stdout
    assert any(line.split() == ["kafka.partitions", "6", "default"] for line in text.splitlines())
    found = json.loads(config("show", "--format", "json", **ACCOUNT).stdout)
    assert found["settings"]["kafka.partitions"] == {"value": 6, "origin": "default"}
    assert found["file"] is None
    assert "hush" not in text + json.dumps(found)


def test_schema_prints_the_json_schema() -> None:
    assert json.loads(config("schema").stdout)["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_the_command_line_does_not_load_the_settings_for_help() -> None:
    heavy = {"pydantic", "yaml", "connector.settings"}
    code = f"import sys, connector.cli.config; print(*({heavy} & set(sys.modules)))"
    done = run("-c", code)
    assert (done.returncode, done.stdout.strip()) == (0, "")
