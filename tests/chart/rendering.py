"""The chart rendered by Helm's own library, and its objects as values."""

import functools
import json
from pathlib import Path
from typing import Any

import helm_python
import yaml

CHART = Path(__file__).parents[2] / "helm"
NAME = "twilio-kafka-connector"
RELEASE, NAMESPACE = "demo", "messaging"

Values = dict[str, Any]
Manifest = dict[str, Any]


class _Loader(yaml.CSafeLoader):
    """Refuses a key that stands twice in a mapping, as Kubernetes does."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [key.value for key, _ in node.value]
    doubled = sorted({key for key in keys if keys.count(key) > 1})
    assert not doubled, f"{doubled} twice in a mapping, {node.start_mark}"
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


@functools.cache
def chart() -> helm_python.Chart:
    """The chart, loaded once."""
    return helm_python.Chart.load(CHART)


def templates(values: Values, *, release: str = RELEASE) -> dict[str, str]:
    """The rendered text of each template by its path below templates/. Raises helm_python.HelmError."""
    return _templates(json.dumps(values, sort_keys=True), release)


@functools.cache
def _templates(values: str, release: str) -> dict[str, str]:
    rendered = chart().render(json.loads(values), name=release, namespace=NAMESPACE)
    return {path.removeprefix(f"{NAME}/templates/"): text for path, text in rendered.items()}


def manifests(values: Values, *, release: str = RELEASE) -> list[Manifest]:
    """All objects, shared by all that ask for those of these values. Raises helm_python.HelmError."""
    return list(_manifests(json.dumps(values, sort_keys=True), release))


@functools.lru_cache(maxsize=128)
def _manifests(values: str, release: str) -> tuple[Manifest, ...]:
    texts = [text for path, text in _templates(values, release).items() if path != "NOTES.txt"]
    found = [document for text in texts for document in yaml.load_all(text, Loader=_Loader)]
    return tuple(document for document in found if document is not None)


def notes(values: Values) -> str:
    """What Helm prints after an installation."""
    return templates(values)["NOTES.txt"]


def of_kind(values: Values, kind: str) -> list[Manifest]:
    """The objects of a kind, by name."""
    found = [manifest for manifest in manifests(values) if manifest["kind"] == kind]
    return sorted(found, key=lambda manifest: str(manifest["metadata"]["name"]))


def only(values: Values, kind: str) -> Manifest:
    """The one object of a kind."""
    found = of_kind(values, kind)
    assert len(found) == 1, f"{len(found)} objects of kind {kind}"
    return found[0]


def pod_specs(values: Values) -> dict[str, Any]:
    """The pod specification of everything that runs: kind/name -> specification."""
    found = {}
    for manifest in manifests(values):
        spec = manifest.get("spec", {})
        pod = spec if manifest["kind"] == "Pod" else spec.get("template", {}).get("spec")
        if pod and manifest["kind"] in {"Pod", "Deployment", "Job"}:
            found[f"{manifest['kind']}/{manifest['metadata']['name']}"] = pod
    return found


def configuration(values: Values) -> Any:
    """The configuration file that the connector gets."""
    return yaml.safe_load(only_named(values, "ConfigMap", f"{RELEASE}-{NAME}")["data"]["connector.yaml"])


def only_named(values: Values, kind: str, name: str) -> Manifest:
    """The object of a kind with a name."""
    return next(manifest for manifest in of_kind(values, kind) if manifest["metadata"]["name"] == name)
