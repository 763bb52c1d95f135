"""What the chart makes of many values is taken by Kubernetes and keeps to the restricted profile."""

from collections.abc import Iterator
from typing import Any

import helm_python
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.chart.combinations import EXCLUSIVE, OPTIONS, ci_sets, merged
from tests.chart.kubernetes import NEWEST, OLDEST, problems
from tests.chart.pod_security import violations
from tests.chart.rendering import CHART, Values, manifests, pod_specs
from tests.examples import examples

ALL: dict[str, Values] = {f"ci: {name}": values for name, values in ci_sets().items()} | OPTIONS
each = pytest.mark.parametrize("values", ALL.values(), ids=ALL.keys())


def test_there_are_at_least_forty_combinations_and_six_sets_in_ci() -> None:
    assert len(ALL) >= 40
    assert len(ci_sets()) >= 6


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@each
def test_every_object_fits_the_oldest_and_the_newest_kubernetes(values: Values, version: str) -> None:
    assert [problem for manifest in manifests(values) for problem in problems(manifest, version=version)] == []


@each
def test_every_pod_meets_the_restricted_profile(values: Values) -> None:
    assert {name: found for name, pod in pod_specs(values).items() if (found := violations(pod))} == {}


@each
def test_every_pod_has_a_read_only_root_and_no_token(values: Values) -> None:
    for pod in pod_specs(values).values():
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        for container in (*pod.get("initContainers", ()), *pod["containers"]):
            assert container["securityContext"]["readOnlyRootFilesystem"] is True


@each
def test_every_mount_has_its_volume(values: Values) -> None:
    for pod in pod_specs(values).values():
        volumes = [volume["name"] for volume in pod["volumes"]]
        assert len(volumes) == len(set(volumes))
        for container in (*pod.get("initContainers", ()), *pod["containers"]):
            assert {mount["name"] for mount in container.get("volumeMounts", ())} <= set(volumes)


@each
def test_nothing_that_is_named_is_missing_or_there_twice(values: Values) -> None:
    keys = [(item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]) for item in manifests(values)]
    assert len(keys) == len(set(keys))
    assert not [path for item in manifests(values) for path in _nulls(item, "")]


@each
def test_services_find_pods_and_scalers_find_deployments(values: Values) -> None:
    found = manifests(values)
    deployments = {item["metadata"]["name"]: item for item in found if item["kind"] == "Deployment"}
    labels = [item["spec"]["template"]["metadata"]["labels"] for item in deployments.values()]
    for item in found:
        match item["kind"]:
            case "Service":
                assert any(item["spec"]["selector"].items() <= pod.items() for pod in labels)
            case "PodDisruptionBudget":
                assert any(item["spec"]["selector"]["matchLabels"].items() <= pod.items() for pod in labels)
            case "HorizontalPodAutoscaler" | "ScaledObject":
                assert "replicas" not in deployments[item["spec"]["scaleTargetRef"]["name"]]["spec"]


@given(chosen=st.sets(st.sampled_from(sorted(OPTIONS)), min_size=2, max_size=6))
@settings(max_examples=examples(60), deadline=None)
def test_options_that_do_not_contradict_each_other_work_together(chosen: set[str]) -> None:
    values = merged(*(OPTIONS[name] for name in sorted(_compatible(chosen))))
    found = manifests(values)
    assert [problem for manifest in found for problem in problems(manifest, version=NEWEST)] == []
    assert [violation for pod in pod_specs(values).values() for violation in violations(pod)] == []


@pytest.mark.parametrize("values", ci_sets().values(), ids=ci_sets().keys())
def test_lint_is_strict_and_clean(values: Values) -> None:
    report = helm_python.lint(CHART, values, strict=True, kube_version=f"v{OLDEST}.0")
    assert report["errors"] == []
    assert [message for message in report["messages"] if message["severity"] > 1] == []


def test_a_release_of_any_name_has_names_that_fit() -> None:
    long = "a" * 53
    values = merged(OPTIONS["per role"], OPTIONS["ingress"])
    assert [text for item in manifests(values, release=long) for text in problems(item, version=NEWEST)] == []
    assert all(len(item["metadata"]["name"]) <= 63 for item in manifests(values, release=long))
    assert {item["metadata"]["labels"]["app.kubernetes.io/instance"] for item in manifests({}, release="1")} == {"1"}


def _compatible(chosen: set[str]) -> set[str]:
    """The chosen ones, of each exclusive set only the first."""
    kept = set(chosen)
    for together in EXCLUSIVE:
        kept -= set(sorted(kept & together)[1:])
    return kept


def _nulls(value: Any, path: str) -> Iterator[str]:
    match value:
        case None:
            yield path
        case dict():
            for key, item in value.items():
                yield from _nulls(item, f"{path}.{key}")
        case list():
            for number, item in enumerate(value):
                yield from _nulls(item, f"{path}.{number}")
