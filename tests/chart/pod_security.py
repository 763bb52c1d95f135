"""The restricted Pod Security Standard as a pure function.

Kubernetes: concepts/security/pod-security-standards, policies Baseline and Restricted. Controls about Windows are left
out; no pod of ours runs there.
"""

from collections.abc import Iterator, Mapping
from typing import Any

VOLUMES = frozenset(
    {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
)
PROFILES = frozenset({"RuntimeDefault", "Localhost"})

Spec = Mapping[str, Any]


def violations(pod: Spec) -> list[str]:
    """A sentence for each control that the specification of a pod does not meet."""
    found = [*_of_pod(pod), *_of_volumes(pod)]
    for container in (*pod.get("initContainers", ()), *pod.get("containers", ()), *pod.get("ephemeralContainers", ())):
        found += [f"container {container['name']} {text}" for text in _of_container(container, pod)]
    return found


def _of_pod(pod: Spec) -> Iterator[str]:
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(key):
            yield f"{key} is true"
    if pod.get("securityContext", {}).get("sysctls"):
        yield "sysctls are set"


def _of_volumes(pod: Spec) -> Iterator[str]:
    for volume in pod.get("volumes", ()):
        kinds = set(volume) - {"name"}
        if not kinds <= VOLUMES:
            yield f"volume {volume['name']} is of kind {', '.join(kinds)}"


def _of_container(container: Spec, pod: Spec) -> Iterator[str]:
    own: Spec = container.get("securityContext", {})
    shared: Spec = pod.get("securityContext", {})
    if own.get("privileged"):
        yield "is privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "may escalate privileges"
    if own.get("runAsNonRoot", shared.get("runAsNonRoot")) is not True:
        yield "may run as root"
    if own.get("runAsUser", shared.get("runAsUser")) == 0:
        yield "runs as user 0"
    if own.get("seccompProfile", shared.get("seccompProfile", {})).get("type") not in PROFILES:
        yield "has no seccomp profile"
    if own.get("procMount", "Default") != "Default":
        yield "has a procMount"
    yield from _of_capabilities(own.get("capabilities", {}))
    if any(port.get("hostPort") for port in container.get("ports", ())):
        yield "has a host port"


def _of_capabilities(capabilities: Spec) -> Iterator[str]:
    if "ALL" not in capabilities.get("drop", ()):
        yield "keeps capabilities"
    if not set(capabilities.get("add", ())) <= {"NET_BIND_SERVICE"}:
        yield "adds capabilities"
