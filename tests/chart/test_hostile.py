"""Whatever values are given: what is rendered an API server takes, or the values are refused with a sentence."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml

from tests.chart.api_server import refusals
from tests.chart.combinations import OPTIONS, ci_sets, merged
from tests.chart.kubernetes import NEWEST, OLDEST, problems
from tests.chart.rendering import Values, manifests, notes

DATA = yaml.safe_load(Path(__file__).with_name("hostile.yaml").read_text(encoding="utf-8"))


def placed(path: str, value: Any) -> Values:
    """A value at its path."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return dict(value)


CASES: list[tuple[str, str, Values]] = [
    (case["path"], str(value), merged(DATA["bases"][case["with"]], placed(case["path"], value)))
    for case in DATA["cases"]
    for value in case["values"]
]
MISTAKES = ("nil pointer", "wrong type for value", "error calling", "can't evaluate", "YAML parse error", "executing ")


def wrong(values: Values) -> Iterator[str]:
    """What an API server would refuse of what is rendered, and a refusal that is no sentence."""
    try:
        found = manifests(values)
        notes(values)
    except helm_python.HelmError as error:
        text = str(error)
        if any(mistake in text for mistake in MISTAKES) and "<fail " not in text:
            yield f"no sentence: {text[:500]}"
        return
    for manifest in found:
        yield from refusals(manifest)
        for version in (OLDEST, NEWEST):
            yield from problems(manifest, version=version)


def test_there_are_at_least_two_hundred_values() -> None:
    assert len(CASES) >= 200


@pytest.mark.parametrize("part", sorted({case["path"] for case in DATA["cases"]}))
def test_hostile_values_are_rendered_right_or_refused_with_a_sentence(part: str) -> None:
    found = {value: list(wrong(values)) for path, value, values in CASES if path == part}
    assert {value: sentences for value, sentences in found.items() if sentences} == {}


@pytest.mark.parametrize("release", ["1", "a.b", "9" * 53, "a-" * 26 + "a"])
def test_a_release_may_have_any_name_that_helm_takes(release: str) -> None:
    for values in (OPTIONS["per role"], OPTIONS["ingress"], OPTIONS["topics by job"], {}):
        assert [text for item in manifests(values, release=release) for text in refusals(item)] == []


def test_what_must_work_is_taken_as_well() -> None:
    sets = ci_sets() | OPTIONS
    found = {name: [text for item in manifests(values) for text in refusals(item)] for name, values in sets.items()}
    assert {name: sentences for name, sentences in found.items() if sentences} == {}


@pytest.mark.parametrize(
    ("manifest", "sentence"),
    [
        ({"kind": "Service", "metadata": {"name": "1"}, "spec": {"ports": []}}, "the name '1' of a Service"),
        ({"kind": "ConfigMap", "metadata": {"name": "A"}}, "the name 'A'"),
        ({"kind": "ConfigMap", "metadata": {"name": "a", "labels": {"a": "b c"}}}, "the value 'b c' of label a"),
        (
            {"kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [{"name": "x"}]}},
            "container 'x': the image ''",
        ),
    ],
)
def test_the_check_finds_what_an_api_server_refuses(manifest: dict[str, Any], sentence: str) -> None:
    assert f"{manifest['kind']}/{manifest['metadata']['name']}: {sentence}" in refusals(manifest)
