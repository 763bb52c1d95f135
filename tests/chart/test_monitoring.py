"""Alerts and dashboard read only what the connector measures, and every alert has its section in the runbook."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.combinations import ci_sets
from tests.chart.promql import known, mistakes, reads
from tests.chart.rendering import CHART, only, only_named

ROOT = Path(__file__).parents[2]
GROUPS = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
ALERTS: dict[str, dict[str, Any]] = {rule["alert"]: rule for group in GROUPS for rule in group["rules"]}
DASHBOARD = json.loads((CHART / "files" / "dashboard.json").read_text(encoding="utf-8"))
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
SECTIONS = re.findall(r"^## (.+)$", RUNBOOK, flags=re.MULTILINE)
PROMTOOL = shutil.which("promtool")


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
    assert [word for word in ("**Means**", "**Look**", "**Do**") if word not in section] == []
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
    assert rules["TwilioKafkaThrottled"]["expr"] == ALERTS["TwilioKafkaThrottled"]["expr"]


def test_the_chart_brings_the_dashboard_as_it_is() -> None:
    values = {"metrics": {"dashboard": {"enabled": True}}}
    found = only_named(values, "ConfigMap", "demo-twilio-kafka-connector-dashboard")
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(found["data"]["twilio-kafka.json"]) == DASHBOARD


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")
def test_alerts_fire_when_they_should(tmp_path: Path) -> None:
    tests = (Path(__file__).parent / "alerts_test.yaml").read_text(encoding="utf-8")
    (tmp_path / "alerts_test.yaml").write_text(tests.replace("RULES", str(CHART / "files" / "alerts.yaml")))
    command = [str(PROMTOOL), "test", "rules", "alerts_test.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    assert done.returncode == 0, done.stdout + done.stderr
