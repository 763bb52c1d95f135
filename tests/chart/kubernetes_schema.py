"""Parts of Kubernetes' own schemas as definitions of the chart's: what values pass on to a pod is checked first.

They are those of the newest version, closed, without descriptions; they come with the package kubernetes-validate.
"""

from typing import Any

from tests.chart.kubernetes import NEWEST, read

PREFIX = "kubernetes."
DROPPED = frozenset({"description", "format", "default"})
# What the chart's schema refers to; what these refer to comes along.
TOPS = (
    "io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerBehavior",
    "io.k8s.api.core.v1.Affinity",
    "io.k8s.api.core.v1.Container",
    "io.k8s.api.core.v1.EnvFromSource",
    "io.k8s.api.core.v1.EnvVar",
    "io.k8s.api.core.v1.HostAlias",
    "io.k8s.api.core.v1.Lifecycle",
    "io.k8s.api.core.v1.PodDNSConfig",
    "io.k8s.api.core.v1.PodSecurityContext",
    "io.k8s.api.core.v1.SecurityContext",
    "io.k8s.api.core.v1.Toleration",
    "io.k8s.api.core.v1.TopologySpreadConstraint",
    "io.k8s.api.core.v1.Volume",
    "io.k8s.api.core.v1.VolumeMount",
    "io.k8s.api.networking.v1.NetworkPolicyEgressRule",
    "io.k8s.api.networking.v1.NetworkPolicyIngressRule",
    "io.k8s.api.networking.v1.NetworkPolicyPeer",
)


def kubernetes_definitions() -> dict[str, Any]:
    """The definitions by the name that the chart's schema gives them."""
    known = read(NEWEST, "_definitions.json")["$defs"]
    wanted, found = list(TOPS), {}
    while wanted:
        name = wanted.pop()
        if _short(name) not in found:
            found[_short(name)] = _converted(known[name], wanted)
    return dict(sorted(found.items()))


def _short(name: str) -> str:
    return PREFIX + name.rpartition(".")[2]


def _converted(part: Any, wanted: list[str]) -> Any:
    match part:
        case {"$ref": str(reference)}:
            name = reference.rpartition("/")[2]
            wanted.append(name)
            return {"$ref": f"#/definitions/{_short(name)}"}
        case dict():
            kept = {key: item for key, item in part.items() if not _is_dropped(key, item)}
            return {key: _converted(item, wanted) for key, item in kept.items()}
        case list():
            return [_converted(item, wanted) for item in part]
        case _:
            return part


def _is_dropped(key: str, item: Any) -> bool:
    """Annotations; not properties of the same name, which are mappings."""
    return key.startswith("x-kubernetes") or (key in DROPPED and not isinstance(item, dict))
