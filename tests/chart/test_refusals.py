"""Wrong values are refused with a sentence that says which, and what to do."""

from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml

from tests.chart.combinations import merged
from tests.chart.rendering import manifests

CASES = yaml.safe_load(Path(__file__).with_name("refusals.yaml").read_text(encoding="utf-8"))
SCHEMA: dict[str, dict[str, Any]] = CASES["schema"]
CHECKS: dict[str, dict[str, Any]] = CASES["checks"]


def test_at_least_twenty_wrong_values_are_refused() -> None:
    assert len(SCHEMA) + len(CHECKS) >= 20


@pytest.mark.parametrize("case", SCHEMA.values(), ids=SCHEMA.keys())
def test_the_schema_names_the_place_of_what_does_not_fit(case: dict[str, Any]) -> None:
    with pytest.raises(helm_python.HelmValuesError) as caught:
        manifests(case["values"])
    assert case["says"] in str(caught.value)


@pytest.mark.parametrize("case", CHECKS.values(), ids=CHECKS.keys())
def test_contradictions_are_told_in_a_sentence_with_the_remedy(case: dict[str, Any]) -> None:
    with pytest.raises(helm_python.HelmRenderError) as caught:
        manifests(case["values"])
    lines = [line.strip() for line in str(caught.value).splitlines()[1:] if line.strip()]
    assert len(lines) == 1
    assert lines[0].startswith(case["says"])


def test_all_contradictions_are_told_at_once() -> None:
    cases = [CHECKS[name] for name in ("two monitors", "one port for both", "no admin token")]
    with pytest.raises(helm_python.HelmRenderError) as caught:
        manifests(merged(*(case["values"] for case in cases)))
    assert all(case["says"] in str(caught.value) for case in cases)


def test_a_secret_never_stands_in_the_error_about_it() -> None:
    with pytest.raises(helm_python.HelmRenderError) as caught:
        manifests({"config": {"connections": {"default": {"auth_token": "s3cr3t"}}}})
    assert "s3cr3t" not in str(caught.value)
