"""The connector takes what the chart gives it: file, environment and mounted secrets, as in the pod."""

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from connector.errors import ConfigurationError
from connector.settings import Settings, load
from tests.chart.combinations import OPTIONS, ci_sets, merged
from tests.chart.rendering import CHART, Values, of_kind, only_named

MOUNT = "/etc/twilio-kafka"
TEXTS = {"account-sid": "AC" + "0" * 31 + "1", "support-api-key": "SK" + "0" * 31 + "1"}
READABLE = (
    "callbacks",
    "one role",
    "SASL",
    "mutual TLS",
    "ports",
    "created secret",
    "unverified callbacks",
    "variables in the configuration",
    "templates in the configuration",
)
SETS: dict[str, Values] = ci_sets() | {name: OPTIONS[name] for name in READABLE}


@pytest.mark.parametrize("values", SETS.values(), ids=SETS.keys())
def test_every_deployment_gets_a_valid_configuration(values: Values, tmp_path: Path) -> None:
    for deployment in of_kind(values, "Deployment"):
        settings = _load(values, deployment, tmp_path)
        assert settings.admin.token is not None
        assert settings.connections


def test_a_role_of_its_own_is_that_role_alone(tmp_path: Path) -> None:
    values = ci_sets()["per-role"]
    roles = {_load(values, item, tmp_path).roles for item in of_kind(values, "Deployment")}
    assert roles == {("watch",), ("callbacks",), ("commands",)}


def test_a_secret_that_is_mounted_is_the_one_that_is_used(tmp_path: Path) -> None:
    values = ci_sets()["per-role"]
    sasl = _load(values, of_kind(values, "Deployment")[0], tmp_path).kafka.sasl
    assert sasl is not None
    assert sasl.password is not None
    assert (sasl.username, sasl.password.get_secret_value()) == ("text of kafka-username", "text of kafka-password")


def test_the_topics_job_needs_nothing_but_kafka(tmp_path: Path) -> None:
    values = merged(ci_sets()["per-role"], {"topicsJob": {"enabled": True}})
    job = of_kind(values, "Job")[0]
    settings = _load(values, job, tmp_path, need_connections=False)
    assert settings.kafka.partitions == 12
    assert not settings.connections


def test_what_is_missing_in_the_secret_is_named(tmp_path: Path) -> None:
    deployment = of_kind({}, "Deployment")[0]
    with pytest.raises(ConfigurationError, match=r"TWILIO_AUTH_TOKEN_FILE.*cannot be read"):
        _load({}, deployment, tmp_path, missing="auth-token")


def test_the_schema_of_config_refuses_what_the_connector_would_refuse() -> None:
    whole = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    validator = jsonschema_rs.Draft7Validator({**whole["properties"]["config"], "definitions": whole["definitions"]})
    defaults = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))["config"]
    assert validator.is_valid(defaults)
    assert not validator.is_valid(merged(defaults, {"kafka": {"compression": "brotli"}}))
    assert not validator.is_valid(merged(defaults, {"kafka": {"linger": "5ms"}}))
    assert not validator.is_valid(merged(defaults, {"admin": {"port": 70000}}))
    assert validator.is_valid(merged(defaults, {"kafka": {"partitions": "${PARTITIONS}"}, "roles": "${ROLES:-watch}"}))
    assert not validator.is_valid(merged(defaults, {"kafka": {"partitions": "$PARTITIONS"}}))


def _load(
    values: Values, workload: dict[str, Any], folder: Path, *, need_connections: bool = True, missing: str = ""
) -> Settings:
    """The settings of the pod of a Deployment or Job, with its volumes below `folder`."""
    pod = workload["spec"]["template"]["spec"]
    container = pod["containers"][0]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for mount in container["volumeMounts"]:
        _fill(folder / mount["mountPath"].removeprefix("/"), volumes[mount["name"]], values, folder, missing)
    environ = {item["name"]: item["value"].replace(MOUNT, f"{folder}{MOUNT}") for item in container["env"]}
    return load(environ=environ, need_connections=need_connections)


def _fill(place: Path, volume: dict[str, Any], values: Values, folder: Path, missing: str) -> None:
    place.mkdir(parents=True, exist_ok=True)
    match volume:
        case {"secret": {"items": items}}:
            for key in (item["key"] for item in items if item["key"] != missing):
                (place / key).write_text(TEXTS.get(key, f"text of {key}") + "\n", encoding="utf-8")
        case {"configMap": {"name": name}}:
            for key, text in only_named(values, "ConfigMap", name)["data"].items():
                (place / key).write_text(text.replace(MOUNT, f"{folder}{MOUNT}"), encoding="utf-8")
