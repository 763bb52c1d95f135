"""Alerts and dashboard read only what the connector measures, and every alert has its section in the runbook."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.combinations import OPTIONS, PUBLIC, ci_sets, merged
from tests.chart.promql import known, mistakes, reads, selectors
from tests.chart.rendering import CHART, Values, only, only_named

ROOT = Path(__file__).parents[2]
GROUPS = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
ALERTS: dict[str, dict[str, Any]] = {rule["alert"]: rule for group in GROUPS for rule in group["rules"]}
DASHBOARD = json.loads((CHART / "files" / "dashboard.json").read_text(encoding="utf-8"))
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
SECTIONS = re.findall(r"^## (.+)$", RUNBOOK, flags=re.MULTILINE)
PROMTOOL = shutil.which("promtool")


# The chart's own rules: a role of this release is missed even where it never was, whatever other releases have.
RELEASE_TEST = """
rule_files: [release.yaml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {series: 'twilio_kafka_build_info{namespace="messaging", release="demo", version="1"}', values: 1+0x20}
      - {series: 'twilio_kafka_role_info{namespace="messaging", release="demo", role="watch"}', values: 1+0x20}
      - {series: 'twilio_kafka_role_info{namespace="messaging", release="demo", role="commands"}', values: 1+0x20}
      - {series: 'twilio_kafka_role_info{namespace="messaging", release="other", role="callbacks"}', values: 1+0x20}
      - {series: 'twilio_kafka_owners{namespace="messaging", release="other", role="watch"}', values: 0+0x20}
    promql_expr_test:
      - expr: 'group by (alertname, namespace, release, role) (ALERTS{alertstate="firing"})'
        eval_time: 10m
        exp_samples:
          - labels: '{alertname="TwilioKafkaRoleAbsent", namespace="messaging", release="demo", role="callbacks"}'
            value: 1
"""

PANELS = [(panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_reads_only_series_and_labels_that_exist(alert: str) -> None:
    assert mistakes(ALERTS[alert]["expr"]) == []


@pytest.mark.parametrize(("title", "expression"), PANELS)
def test_a_panel_reads_only_series_and_labels_that_exist(title: str, expression: str) -> None:
    assert mistakes(expression.replace("${", "$")) == [], title


def test_the_check_finds_what_does_not_exist() -> None:
    assert mistakes("sum(twilio_kafka_messages_total)") == ["no series twilio_kafka_messages_total"]
    assert mistakes('twilio_kafka_owners{topic="x"}') == ["twilio_kafka_owners has no label topic"]
    assert mistakes("sum by (topic) (rate(twilio_kafka_commands_total[5m]))") == ["nothing has the label topic"]
    with pytest.raises(ValueError, match="unclosed left parenthesis"):
        mistakes("sum(")


def test_the_dashboard_shows_every_metric() -> None:
    shown = {name for _, expression in PANELS for name in reads(expression).series}
    bases = {re.sub("_(bucket|sum|count)$", "_bucket", name) for name in known()}
    assert bases - shown == set()


def test_every_alert_says_what_it_means_and_where_its_runbook_is() -> None:
    for name, rule in ALERTS.items():
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
        assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{name.lower()}"


def test_the_runbook_has_a_section_for_every_alert_and_no_other() -> None:
    assert list(ALERTS) == SECTIONS


@pytest.mark.parametrize("section", re.split(r"^## ", RUNBOOK, flags=re.MULTILINE)[1:])
def test_a_section_says_what_it_means_where_to_look_and_what_to_do(section: str) -> None:
    assert [word for word in ("**Means**", "**Find**", "**Look**", "**Do**") if word not in section] == []
    queries = [code for code in re.findall(r"`([^`]+)`", section) if re.search(r"twilio_kafka_\w+|process_\w+", code)]
    assert [mistake for query in queries for mistake in mistakes(query)] == []
    assert set(re.findall(r"TwilioKafka\w+", section)) <= set(ALERTS)


def test_texts_of_alerts_name_only_labels_that_the_result_has() -> None:
    for rule in ALERTS.values():
        named = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        assert named <= reads(rule["expr"]).groups


def test_the_chart_leaves_out_adds_and_links() -> None:
    groups = only(ci_sets()["observed"], "PrometheusRule")["spec"]["groups"]
    rules = {rule["alert"]: rule for group in groups for rule in group["rules"]}
    assert set(rules) == set(ALERTS) - {"TwilioKafkaVersionsDiffer"} | {"NightShift"}
    link = "https://runbooks.example.com/twilio-kafka#twiliokafkathrottled"
    assert rules["TwilioKafkaThrottled"]["annotations"]["runbook_url"] == link
    assert "increase(" in rules["TwilioKafkaDeadLetters"]["expr"]


ENABLED: Values = {"metrics": {"prometheusRule": {"enabled": True}}}
MONITORED: Values = {"metrics": {"prometheusRule": {"enabled": True}, "podMonitor": {"enabled": True}}}


def rules_of(values: Values) -> dict[str, str]:
    """The expressions of the alerts that the chart brings."""
    groups = only(values, "PrometheusRule")["spec"]["groups"]
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}


@pytest.mark.parametrize(
    ("values", "matchers"),
    [
        (ENABLED, {"namespace": "messaging"}),
        (MONITORED, {"namespace": "messaging", "release": "demo"}),
        (merged(ENABLED, {"metrics": {"prometheusRule": {"matchers": {"cluster": "eu-1", "job": "x"}}}}), None),
    ],
)
def test_the_alerts_of_a_release_read_its_own_series_alone(values: Values, matchers: dict[str, str] | None) -> None:
    wanted = {(label, "MatchOp.Equal", text) for label, text in (matchers or {"cluster": "eu-1", "job": "x"}).items()}
    for expression in rules_of(values).values():
        ours = [found for found in selectors(expression) if found.name.startswith("twilio_kafka_")]
        assert ours
        assert [found for found in ours if not wanted <= set(found.matchers)] == []
        assert mistakes(expression) == []


def test_the_monitors_set_the_label_by_which_releases_are_told_apart() -> None:
    for kind, values in {"ServiceMonitor": "service monitor", "PodMonitor": "pod monitor"}.items():
        spec = only(OPTIONS[values], kind)["spec"]
        assert spec["jobLabel"] == "app.kubernetes.io/name"
        endpoint = (spec.get("endpoints") or spec["podMetricsEndpoints"])[0]
        assert endpoint["relabelings"][0]["targetLabel"] == "release"


@pytest.mark.parametrize(
    ("values", "roles"),
    [
        ({}, ["watch", "commands"]),
        (PUBLIC, ["watch", "callbacks", "commands"]),
        (OPTIONS["one role"], ["commands"]),
        (OPTIONS["commands scaled to zero"], ["watch"]),
        ({"perRole": {"enabled": True, "watch": {"replicas": 0}}}, ["commands"]),
    ],
)
def test_each_role_that_is_to_be_there_is_missed_by_itself(values: Values, roles: list[str]) -> None:
    expression = rules_of(merged(ENABLED, values))["TwilioKafkaRoleAbsent"]
    named = [{label: text for label, _, text in found.matchers} for found in selectors(expression)]
    assert sorted(found["role"] for found in named) == sorted(roles)
    assert expression.count("absent(") == len(roles)


def test_without_a_process_that_is_always_there_no_role_is_missed() -> None:
    assert "TwilioKafkaRoleAbsent" not in rules_of(merged(ENABLED, {"workload": {"replicas": 0}}))


def test_the_chart_brings_the_dashboard_as_it_is() -> None:
    values = {"metrics": {"dashboard": {"enabled": True}}}
    found = only_named(values, "ConfigMap", "demo-twilio-kafka-connector-dashboard")
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(found["data"]["twilio-kafka.json"]) == DASHBOARD


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")
def test_alerts_fire_when_they_should(tmp_path: Path) -> None:
    cases = sorted(Path(__file__).parent.glob("alerts*_test.yaml"))
    for case in cases:
        text = case.read_text(encoding="utf-8").replace("RULES", str(CHART / "files" / "alerts.yaml"))
        (tmp_path / case.name).write_text(text)
    (tmp_path / "release_test.yaml").write_text(RELEASE_TEST)
    groups = only(merged(PUBLIC, MONITORED), "PrometheusRule")["spec"]["groups"]
    (tmp_path / "release.yaml").write_text(yaml.safe_dump({"groups": groups}))
    command = [str(PROMTOOL), "test", "rules", "release_test.yaml", *(case.name for case in cases)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    assert done.returncode == 0, done.stdout + done.stderr
