"""Alerts, dashboard and the real process, with nothing between them but a real Prometheus."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import aiohttp
import pytest
import yaml

from connector.dev.broker import free_port
from connector.simulator import Simulator
from tests.chart.promql import OF_TARGETS, reads, selectors
from tests.producing import produce
from tests.running import Connector, configuration, running, wait_for_records
from tests.scraping import CALLBACKS, COMMANDS, Scrape, call_back, exposed, knock, scrape, work

HELM = Path(__file__).parents[1] / "helm"
RULES = HELM / "files" / "alerts.yaml"
ALERTS = [rule for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((HELM / "files" / "dashboard.json").read_text(encoding="utf-8"))
TARGETS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
PROMETHEUS = shutil.which("prometheus")
CHOSEN = ("$cluster", "$namespace", "$job", "$release")
FILLED_IN = {**dict.fromkeys(CHOSEN, ".*"), "$__rate_interval": "1m", "$__range": "1h"}


def filled(expression: str) -> str:
    """A panel's expression as Grafana sends it."""
    for variable, text in FILLED_IN.items():
        expression = expression.replace(variable, text)
    return expression


EXPRESSIONS = [*(rule["expr"] for rule in ALERTS), *map(filled, TARGETS)]


def absent(expressions: list[str], found: Scrape) -> list[str]:
    """Series and labels that expressions read and a scrape does not have."""
    missing = []
    for expression in expressions:
        read = reads(expression)
        for series, labels in read.series.items():
            name = series.removeprefix("twilio_kafka_")
            wanted = labels | (read.groups if len(read.series) == 1 else frozenset())
            if series not in found.names:
                missing.append(series)
            missing += [f"{series}{{{label}}}" for label in wanted - found.labels_of(name) - OF_TARGETS]
    return missing


def unborn(expressions: list[str], found: Scrape) -> list[str]:
    """Counters that expressions read and of which a scrape has no series, or not at 0; histograms without series."""
    missing = []
    for selector in {selector for expression in expressions for selector in selectors(expression)}:
        values = {value for labels, value in found.series(selector.name) if selector.matches(labels)}
        is_told = values == {0.0} if selector.name.endswith("_total") else bool(values)
        if selector.name.endswith(("_total", "_count", "_bucket")) and not is_told:
            missing.append(str(selector))
    return sorted(missing)


def closed(found: Scrape) -> dict[str, set[frozenset[tuple[str, str]]]]:
    """The series of each counter that alerts read."""
    names = {selector.name for rule in ALERTS for selector in selectors(rule["expr"])}
    counters = [name for name in names if name.endswith("_total")]
    return {name: {frozenset(labels.items()) for labels, _ in found.series(name)} for name in counters}


@asynccontextmanager
async def busy(kafka: str, prefix: str, folder: Path) -> AsyncIterator[tuple[Connector, Scrape]]:
    """A process of all roles to which everything happens that is counted; and its metrics before it happened."""
    async with Simulator(seed=1) as simulator:
        simulator.fault("throttle", "CreateMessage", times=3)
        watches = [{"resource": "messages", "interval": "300ms"}, {"resource": "calls", "interval": "300ms"}]
        document = configuration(simulator, kafka=kafka, prefix=prefix, watches=watches)
        async with running(document, folder) as (process,), aiohttp.ClientSession() as session:
            first = await scrape(process)
            await process.wait_for_log("watch starts anew")
            await asyncio.to_thread(produce, kafka, work(prefix))
            token = simulator.auth_token
            await asyncio.gather(*(call_back(session, process, token, number) for number in range(CALLBACKS)))
            assert await knock(session, process) == 403
            await wait_for_records(kafka, f"{prefix}.results.send-message", COMMANDS * 9 // 10, within=60)
            yield process, first


async def test_whatever_alerts_and_dashboard_read_is_in_a_live_scrape(kafka: str, prefix: str, tmp_path: Path) -> None:
    async with busy(kafka, prefix, tmp_path) as (process, first):
        found = await scrape(process)
    assert closed(found) == closed(first), "every series of a counter that alerts read is there from the start"
    assert absent(EXPRESSIONS, found) == []
    assert absent(["sum by (topic) (twilio_kafka_owners)"], found) == ["twilio_kafka_owners{topic}"]
    assert absent(["twilio_kafka_sums"], found) == ["twilio_kafka_sums"]


async def test_every_counter_that_an_alert_reads_is_there_at_0_from_the_start(
    simulator: Simulator, kafka: str, prefix: str, tmp_path: Path
) -> None:
    document = configuration(simulator, kafka=kafka, prefix=prefix, watches=[{"resource": "calls", "interval": "1h"}])
    document["connections"]["default"]["api_url"] = f"http://127.0.0.1:{free_port()}"  # nothing is counted yet
    async with running(document, tmp_path) as (process,):
        found = await scrape(process)
        content_type, text = await exposed(process, "text/plain")
    assert unborn([rule["expr"] for rule in ALERTS], found) == []
    assert {labels["role"] for labels, _ in found.series("twilio_kafka_role_info")} == {
        "watch",
        "callbacks",
        "commands",
    }
    assert content_type.startswith("text/plain; version=0.0.4")
    assert "# EOF" not in text
    assert absent(["process_open_fds / process_max_fds", "rate(process_cpu_seconds_total[1m])"], found) == []


# --- Prometheus -------------------------------------------------------------------------------------------------------
class Prometheus:
    """A server that scrapes one process and knows the alerts."""

    def __init__(self, folder: Path, target: str) -> None:
        self._folder = folder
        self._port = free_port()
        scraped = {"job_name": "twilio-kafka", "static_configs": [{"targets": [target], "labels": {"namespace": "m"}}]}
        settings = {
            "global": {"scrape_interval": "500ms", "evaluation_interval": "500ms"},
            "rule_files": [str(RULES)],
            "scrape_configs": [scraped],
        }
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(settings))

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Prometheus"]:
        with (self._folder / "prometheus.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                str(PROMETHEUS),
                f"--config.file={self._folder / 'prometheus.yaml'}",
                f"--storage.tsdb.path={self._folder / 'prometheus'}",
                f"--web.listen-address=127.0.0.1:{self._port}",
                stdout=log,
                stderr=log,
            )
        try:
            yield self
        finally:
            process.kill()
            await process.wait()

    async def get(self, path: str, **query: str) -> Any:
        """What its API answers; None before it serves."""
        url = f"http://127.0.0.1:{self._port}/api/v1/{path}?{urlencode(query)}"
        async with aiohttp.ClientSession() as session:
            try:
                async with session.get(url) as answer:
                    return await answer.json() if answer.content_type == "application/json" else None
            except aiohttp.ClientConnectionError:
                return None

    async def until(self, path: str, holds: Any, **query: str) -> Any:
        """The data as soon as they are so."""
        async with asyncio.timeout(60):
            while True:
                found = await self.get(path, **query)
                if found and found.get("data") and holds(found["data"]):
                    return found["data"]
                await asyncio.sleep(0.2)


def scraped_twice(data: Mapping[str, Any]) -> bool:
    return bool(data["result"]) and float(data["result"][0]["value"][1]) >= 2


@pytest.mark.skipif(PROMETHEUS is None, reason="prometheus is not installed (Debian: prometheus)")
async def test_a_real_prometheus_scrapes_the_process_and_evaluates_every_expression(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    async with busy(kafka, prefix, tmp_path) as (process, _):
        target = urlsplit(process.admin).netloc
        async with Prometheus(tmp_path, target).running() as prometheus:
            await prometheus.until("query", scraped_twice, query="count_over_time(twilio_kafka_build_info[1m])")
            answers = {text: await prometheus.get("query", query=text) for text in EXPRESSIONS}
            groups = (await prometheus.until("rules", evaluated))["groups"]
            targets = (await prometheus.get("targets"))["data"]["activeTargets"]
    assert {text: found for text, found in answers.items() if found["status"] != "success"} == {}
    assert [(found["health"], found["lastError"]) for found in targets] == [("up", "")]
    rules = {rule["name"]: rule for group in groups for rule in group["rules"]}
    assert set(rules) == {rule["alert"] for rule in ALERTS}
    assert {name: rule["lastError"] for name, rule in rules.items() if rule["health"] != "ok"} == {}
    empty = [text for text in map(filled, TARGETS) if not answers[text]["data"]["result"]]
    assert empty == []


def evaluated(data: Mapping[str, Any]) -> bool:
    return all(rule["health"] != "unknown" for group in data["groups"] for rule in group["rules"])
