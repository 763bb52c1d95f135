"""Whether an API server would take an object: Kubernetes' own schemas, and reduced ones of other projects' CRDs.

Kubernetes' schemas come with the package kubernetes-validate, closed and for every version. `crds/` holds for each kind
the fields that the chart may set, closed as well, written after the projects' documentation.
"""

import functools
import importlib.resources
import json
from pathlib import Path
from typing import Any

import jsonschema_rs

OLDEST, NEWEST = "1.30", "1.37"

CRDS = Path(__file__).with_name("crds")
SCHEMAS = importlib.resources.files("kubernetes_validate") / "kubernetes-json-schema"


def problems(manifest: dict[str, Any], *, version: str) -> list[str]:
    """What the API server would refuse, one line each."""
    api = str(manifest["apiVersion"])
    validator = _crd(api, manifest["kind"]) if _is_foreign(api) else _built_in(api, manifest["kind"], version)
    name = f"{manifest['kind']}/{manifest['metadata']['name']}"
    return [f"{name} {_place(error)}: {error.message:.300}" for error in validator.iter_errors(manifest)]


def _place(error: jsonschema_rs.ValidationError) -> str:
    return ".".join(str(part) for part in error.instance_path)


def _is_foreign(api: str) -> bool:
    """Kubernetes' own groups have no dot, or end with .k8s.io but for the Gateway API."""
    group = api.rpartition("/")[0]
    return "." in group and (not group.endswith(".k8s.io") or group.startswith("gateway."))


@functools.cache
def _crd(api: str, kind: str) -> jsonschema_rs.Draft202012Validator:
    group, _, version = api.rpartition("/")
    file = CRDS / f"{group}_{kind.lower()}.json"
    assert file.exists(), f"there is no schema of {api} {kind}: write {file.name}"
    schema = json.loads(file.read_text(encoding="utf-8"))
    assert version in schema["versions"], f"{kind} has the versions {schema['versions']}, not {version}"
    metadata = json.loads((CRDS / "metadata.json").read_text(encoding="utf-8"))
    whole = {
        "type": "object",
        "additionalProperties": False,
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {
            "apiVersion": {"const": api},
            "kind": {"const": kind},
            "metadata": metadata,
            "spec": schema["spec"],
        },
        "$defs": schema.get("$defs", {}),
    }
    return jsonschema_rs.Draft202012Validator(whole)


@functools.cache
def _built_in(api: str, kind: str, version: str) -> jsonschema_rs.Draft202012Validator:
    group, _, name = api.rpartition("/")
    prefix = f"{group.partition('.')[0]}-" if group else ""
    schema = read(version, f"{kind.lower()}-{prefix}{name}.json")
    return jsonschema_rs.Draft202012Validator(schema, registry=_definitions(version))


@functools.cache
def _definitions(version: str) -> jsonschema_rs.Registry:
    return jsonschema_rs.Registry([("json-schema:///api/_definitions.json", read(version, "_definitions.json"))])


def read(version: str, name: str) -> Any:
    folder = SCHEMAS / f"v{version}.0-local-strict"
    return json.loads((folder / name).read_text(encoding="utf-8"))
