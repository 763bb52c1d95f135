"""The callback and the admin port against their OpenAPI document: whatever comes, never a 500 (schemathesis)."""

import asyncio
import contextlib
import os
import re
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from connector.receiver.intake import routes
from connector.resources import CALLBACKS
from connector.simulator import Simulator
from tests.console_routes import admin_routes
from tests.running import Connector, configuration, running

DOCUMENT = Path(__file__).parents[1] / "docs" / "openapi.yaml"
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "6"))
SLOW_EXAMPLES = max(1, EXAMPLES // 10)
LEAST_INTERNAL_ERROR, UNAVAILABLE = 500, 503
PATIENCE_SECONDS = 30
CONFORMS = [status_code_conformance, response_schema_conformance]


def document() -> dict[str, Any]:
    return dict(yaml.safe_load(DOCUMENT.read_text()))


def paths(*, port: str) -> set[tuple[str, str]]:
    """Methods and paths of one of the two ports, as the document has them."""
    found = {(method.upper(), path) for path, item in document()["paths"].items() for method in item}
    return {(method, path) for method, path in found if path.startswith("/callbacks/") == (port == "callbacks")}


def test_the_document_has_every_callback() -> None:
    table = routes(CALLBACKS.values(), public_url="https://x", prefix="t", envelope="binary")
    assert {path for _, path in paths(port="callbacks")} == set(table)


def test_the_document_has_every_route_of_the_admin_port() -> None:
    routed = {
        (route.method, re.sub(r"\{(\w+):[^{}]+(?:\{[^{}]+\})?\}", r"{\1}", route.path)) for route in admin_routes()
    }
    health = {("GET", path) for path in ("/livez", "/readyz", "/metrics", "/version")}
    # What is answered line by line is for the console's pages: no client of the document could read it.
    streams = {("GET", "/api/stream"), ("GET", "/api/search"), ("POST", "/api/dead-letters/run")}
    assert paths(port="admin") == (routed | health) - streams


@contextlib.asynccontextmanager
async def ports(
    simulator: Simulator, kafka: str, prefix: str, folder: Path, **callbacks: Any
) -> AsyncIterator[Connector]:
    watches = [{"resource": "messages", "interval": "1s"}]
    document = configuration(
        simulator, kafka=kafka, prefix=prefix, watches=watches, callbacks=callbacks, development=True
    )
    async with running(document, folder) as (process,):
        yield process


class Attack:
    """Calls every operation of one port with valid and with invalid input; `counted` holds the answers by status."""

    def __init__(self, base: str, *, port: str) -> None:
        self.counted: Counter[str] = Counter()
        self._base = base
        schema: Any = schemathesis.openapi.from_dict(document())
        found = [item.ok() for item in schema.get_all_operations()]
        self._operations = [item for item in found if item.path.startswith("/callbacks/") == (port == "callbacks")]

    def run(self) -> "Counter[str]":
        for operation in self._operations:
            for mode in schemathesis.GenerationMode:
                # Not every operation has input that can be wrong.
                with contextlib.suppress(Unsatisfiable):
                    # What is not there is looked for in Kafka, for seconds.
                    count = SLOW_EXAMPLES if "{offset}" in operation.path else EXAMPLES
                    self._repeat(operation.as_strategy(generation_mode=mode), mode, count)
        return self.counted

    def _repeat(self, cases: Any, mode: schemathesis.GenerationMode, count: int) -> None:
        @given(case=cases)
        @settings(
            max_examples=count,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            derandomize="FUZZ_EXAMPLES" not in os.environ,
            suppress_health_check=list(HealthCheck),
        )
        def call(case: Any) -> None:
            self._call(case, mode)

        call()

    def _call(self, case: Any, mode: schemathesis.GenerationMode) -> None:
        answer = case.call(base_url=self._base, timeout=PATIENCE_SECONDS, headers={"X-Twilio-Kafka": "1"})
        self.counted[f"{answer.status_code}"] += 1
        is_fine = answer.status_code < LEAST_INTERNAL_ERROR or answer.status_code == UNAVAILABLE
        assert is_fine, (case.as_curl_command(), answer.text)
        assert "Traceback" not in answer.text
        if mode is schemathesis.GenerationMode.POSITIVE:
            case.validate_response(answer, checks=CONFORMS)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("verifies", [True, False])
async def test_whatever_comes_there_is_no_internal_error(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path, *, verifies: bool
) -> None:
    async with ports(simulator, kafka, prefix, tmp_path, verify_signatures=verifies) as process:
        counted = await asyncio.to_thread(Attack(process.callbacks, port="callbacks").run)
        if not verifies:
            counted += await asyncio.to_thread(Attack(process.admin, port="admin").run)
        assert process.process is not None
        assert process.process.returncode is None
    print(f"answers by status: {dict(counted)}")  # noqa: T201 - the counts of a long run
    assert counted["403" if verifies else "204"] > 0
    assert "Traceback" not in process.log
