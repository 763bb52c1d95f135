"""docker-compose.yml: what the specification takes, hardened, in order, and the same as `make dev`."""

import asyncio
import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import compose_spec
import pytest
import yaml

from connector.dev.session import environment
from connector.settings import Settings, load
from connector.simulator import ACCOUNT_SID, AUTH_TOKEN, Simulator

ROOT = Path(__file__).parents[1]
FILE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
OURS = [name for name, service in SERVICES.items() if service["image"].startswith("twilio-kafka-connector:")]
OF_PLACE = {"KAFKA_BOOTSTRAP_SERVERS", "TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN"}
"""Where `make dev` and Compose differ by nature: hosts and ports, and secrets by file."""

each = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES.keys())


def compose(document: dict[str, Any]) -> compose_spec.PyCompose:
    return compose_spec.PyCompose.from_yaml(yaml.safe_dump(document))


def demo() -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo_of_compose", ROOT / "deploy" / "demo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def connector_settings() -> Settings:
    """The settings of the connector's container, with the secrets' files where they are here."""
    files = {f"/run/secrets/{name}": str(ROOT / secret["file"]) for name, secret in FILE["secrets"].items()}
    given = SERVICES["connector"]["environment"]
    return load(environ={name: files.get(value, value) for name, value in given.items()})


# --- form -------------------------------------------------------------------------------------------------------------
def test_the_specification_takes_the_file() -> None:
    compose(FILE).validate()


def test_the_specification_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="heathcheck"):
        compose({"services": {"kafka": {"image": "apache/kafka", "heathcheck": {}}}})


# --- hardened ---------------------------------------------------------------------------------------------------------
@each
def test_a_service_has_no_rights_and_a_read_only_root(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]


@each
def test_an_image_is_pinned(service: dict[str, Any]) -> None:
    tag = service["image"].rpartition(":")[2]
    assert tag == "dev" if "build" in service else any(character.isdigit() for character in tag)


@each
def test_ports_are_on_loopback(service: dict[str, Any]) -> None:
    assert [port for port in service.get("ports", ()) if not port.startswith("127.0.0.1:")] == []


@each
def test_secrets_come_by_file(service: dict[str, Any]) -> None:
    for name, value in service.get("environment", {}).items():
        if any(word in name for word in ("TOKEN", "PASSWORD", "SECRET")):
            assert name.endswith("_FILE")
            assert value.removeprefix("/run/secrets/") in service["secrets"]


def test_every_file_that_is_mounted_exists() -> None:
    files = [secret["file"] for secret in FILE["secrets"].values()]
    for service in SERVICES.values():
        files += [volume.partition(":")[0] for volume in service.get("volumes", ()) if volume.startswith(".")]
    assert [file for file in files if not (ROOT / file).is_file()] == []


# --- order ------------------------------------------------------------------------------------------------------------
def test_a_service_waits_until_what_it_needs_is_healthy_or_done() -> None:
    waits = [wait for service in SERVICES.values() for wait in service.get("depends_on", {}).items()]
    for name, wait in waits:
        done = {"condition": "service_completed_successfully"}
        assert wait == (done if name == "topics" else {"condition": "service_healthy"})
        assert name == "topics" or "test" in SERVICES[name]["healthcheck"]


def test_no_one_sleeps() -> None:
    assert "sleep" not in (ROOT / "docker-compose.yml").read_text(encoding="utf-8")


def test_prometheus_and_grafana_come_only_when_asked_for() -> None:
    profiles = {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service}
    assert profiles == {"prometheus": ["observability"], "grafana": ["observability"]}


# --- the same as make dev ---------------------------------------------------------------------------------------------
def test_the_image_is_built_once_and_used_by_all_of_ours() -> None:
    assert OURS == ["topics", "simulator", "connector", "demo"]
    assert {SERVICES[name]["build"] for name in OURS} == {"."}


def test_the_connector_takes_its_environment() -> None:
    settings = connector_settings()
    assert settings.roles == ("watch", "callbacks", "commands")
    assert settings.admin.token is not None
    assert settings.connections["default"].account_sid == ACCOUNT_SID
    token = settings.connections["default"].auth_token
    assert token is not None
    assert token.get_secret_value() == AUTH_TOKEN


def test_the_connector_is_configured_as_make_dev_configures_it() -> None:
    dev = environment(Simulator(), kafka="kafka:19092", port=8080)
    here = SERVICES["connector"]["environment"]
    same = {name for name in dev if not any(part in name for part in ("URL", "HOST", "PORT"))} - OF_PLACE
    for name in same:
        assert here[name].replace("\n", " ") == dev[name] or json.loads(here[name]) == json.loads(dev[name])


async def test_the_demo_configures_and_lets_messages_arrive(simulator: Simulator) -> None:
    remote = demo().RemoteSimulator(simulator.url)
    await asyncio.to_thread(remote.configure, inbound_url="", deliver_delay=1.5)
    await asyncio.to_thread(remote.receive, from_="+15550100001", to="+15551234567", body="Thank you!")
    assert simulator.state.settings.deliver_delay == 1.5
    assert [row.body for row in cast("Any", simulator.state.stores[ACCOUNT_SID].messages.rows.values())] == [
        "Thank you!"
    ]


# --- observed ---------------------------------------------------------------------------------------------------------
def test_prometheus_and_grafana_show_what_the_chart_has() -> None:
    mounted = [volume.split(":")[0] for name in ("prometheus", "grafana") for volume in SERVICES[name]["volumes"]]
    assert {"./helm/files/alerts.yaml", "./helm/files/dashboard.json"} <= set(mounted)
    prometheus = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text(encoding="utf-8"))
    targets = [
        target for job in prometheus["scrape_configs"] for each in job["static_configs"] for target in each["targets"]
    ]
    assert targets == [f"connector:{connector_settings().admin.port}"]
    assert all(any(file in volume for volume in SERVICES["prometheus"]["volumes"]) for file in prometheus["rule_files"])
