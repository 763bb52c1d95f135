"""What an API server refuses beyond its schemas: names, labels, what must be unique, ranges, what excludes each other.

Kubernetes: pkg/apis/*/validation, as the API conventions and the reference describe it. Only what is certain.
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
SERVICE = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
QUALIFIED = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
VARIABLE = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")
QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei|[eE][0-9]+)?")
UNITS = {"": 1.0, "m": 1e-3} | {unit: 1e3 ** (i + 1) for i, unit in enumerate("kMGTPE")}
UNITS |= {f"{unit}i": 1024.0 ** (i + 1) for i, unit in enumerate("KMGTPE")}
INT32 = 2**31 - 1
MEDIA = {"", "Memory"}

Object = Mapping[str, Any]


def refusals(manifest: Object) -> list[str]:
    """A sentence for each thing that the API server is certain to refuse."""
    name = f"{manifest['kind']}/{manifest['metadata'].get('name')}"
    found = [*_metadata(manifest), *_of_kind(manifest)]
    return [f"{name}: {sentence}" for sentence in found]


def _metadata(manifest: Object) -> Iterator[str]:
    metadata, kind = manifest["metadata"], manifest["kind"]
    name = str(metadata.get("name", ""))
    if not SUBDOMAIN.fullmatch(name) or len(name) > 253:
        yield f"the name {name!r}"
    if kind == "Service" and not SERVICE.fullmatch(name):
        yield f"the name {name!r} of a Service"
    if not LABEL.fullmatch(str(metadata.get("namespace", "x"))):
        yield f"the namespace {metadata['namespace']!r}"
    yield from labels(metadata.get("labels"))
    yield from annotations(metadata.get("annotations"))


def labels(found: Any) -> Iterator[str]:
    """Labels, or what selects by them."""
    for key, value in (found or {}).items():
        yield from _key(key)
        if not isinstance(value, str) or not LABEL_VALUE.fullmatch(value):
            yield f"the value {value!r} of label {key}"


def annotations(found: Any) -> Iterator[str]:
    """Annotations, whose values may be any text."""
    for key, value in (found or {}).items():
        yield from _key(key.lower())
        if not isinstance(value, str):
            yield f"the value {value!r} of annotation {key}"


def _key(key: str) -> Iterator[str]:
    prefix, slash, name = key.rpartition("/")
    if not QUALIFIED.fullmatch(name) or (slash and not SUBDOMAIN.fullmatch(prefix)):
        yield f"the key {key!r}"


def _of_kind(manifest: Object) -> Iterator[str]:
    check = CHECKS.get(manifest["kind"])
    if check is not None:
        yield from check(manifest.get("spec", {}))
    if manifest["kind"] in {"ConfigMap", "Secret"}:
        yield from (f"the key {key!r}" for key in manifest.get("data", {}) if not KEY.fullmatch(key))


def _route(spec: Object) -> Iterator[str]:
    yield from (f"the host {host!r}" for host in spec["hostnames"] if not _is_host(host))


def _budget(spec: Object) -> Iterator[str]:
    if len({"minAvailable", "maxUnavailable"} & spec.keys()) != 1:
        yield "one of minAvailable and maxUnavailable"
    yield from _share("a budget", spec.get("minAvailable", spec.get("maxUnavailable")), most=100)


def _autoscaler(spec: Object) -> Iterator[str]:
    if not 1 <= spec["minReplicas"] <= spec["maxReplicas"] <= INT32:
        yield "minReplicas and maxReplicas"


def _deployment(spec: Object) -> Iterator[str]:
    template = spec["template"]
    if not spec["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items():
        yield "a selector that does not match the pods"
    yield from labels(template["metadata"]["labels"])
    yield from annotations(template["metadata"].get("annotations"))
    for key in ("replicas", "minReadySeconds", "revisionHistoryLimit"):
        if not 0 <= spec.get(key, 0) <= INT32:
            yield f"{key} {spec[key]}"
    strategy, update = spec["strategy"], spec["strategy"].get("rollingUpdate")
    if strategy["type"] == "Recreate" and update:
        yield "Recreate with rollingUpdate"
    if update and all(str(update.get(key, 1)).rstrip("%") == "0" for key in ("maxSurge", "maxUnavailable")):
        yield "maxSurge and maxUnavailable 0"
    yield from _share("maxUnavailable", (update or {}).get("maxUnavailable"), most=100)
    yield from _pod(template["spec"])


def _share(what: str, value: Any, *, most: int) -> Iterator[str]:
    if isinstance(value, str) and not (value.endswith("%") and value[:-1].isdigit() and int(value[:-1]) <= most):
        yield f"{what} of {value}"


def _pod(pod: Object) -> Iterator[str]:
    volumes = [volume["name"] for volume in pod.get("volumes", ())]
    containers = [*pod.get("initContainers", ()), *pod["containers"]]
    yield from _twice("volume", volumes)
    yield from _twice("container", (container["name"] for container in containers))
    yield from (f"the volume {name!r}" for name in volumes if not LABEL.fullmatch(name))
    ports = [port["name"] for item in pod["containers"] for port in item.get("ports", ()) if "name" in port]
    yield from _twice("port", ports)
    for container in containers:
        yield from (f"container {container['name']!r}: {text}" for text in _container(container, volumes))
    for volume in pod.get("volumes", ()):
        yield from _volume(volume)
    for toleration in pod.get("tolerations", ()):
        if toleration.get("operator", "Equal") == "Exists" and toleration.get("value"):
            yield "a toleration that Exists with a value"
        if not toleration.get("key") and toleration.get("operator") != "Exists":
            yield "a toleration without a key"
    pairs = [(item["topologyKey"], item["whenUnsatisfiable"]) for item in pod.get("topologySpreadConstraints", ())]
    yield from _twice("constraint", pairs)
    yield from labels(pod.get("nodeSelector"))
    if pod.get("dnsPolicy") == "None" and not pod.get("dnsConfig", {}).get("nameservers"):
        yield "dnsPolicy None without nameservers"
    names = [pod.get("serviceAccountName"), pod.get("priorityClassName"), pod.get("runtimeClassName")]
    names += [secret["name"] for secret in pod.get("imagePullSecrets", ())]
    yield from (f"the name {name!r}" for name in names if name and not SUBDOMAIN.fullmatch(name))
    for alias in pod.get("hostAliases", ()):
        if not _is_address(alias.get("ip", "")):
            yield f"the address {alias.get('ip')!r}"


def _container(container: Object, volumes: list[str]) -> Iterator[str]:
    if not LABEL.fullmatch(container["name"]):
        yield "its name"
    image = container.get("image", "")
    if not image or image != image.strip() or " " in image:
        yield f"the image {image!r}"
    env = [item["name"] for item in container.get("env", ())]
    yield from _twice("variable", env)
    yield from (f"the variable {name!r}" for name in env if not VARIABLE.fullmatch(name))
    yield from ("value and valueFrom" for item in container.get("env", ()) if {"value", "valueFrom"} <= item.keys())
    mounts = container.get("volumeMounts", ())
    yield from _twice("mountPath", (mount["mountPath"] for mount in mounts))
    yield from (f"no volume {mount['name']!r}" for mount in mounts if mount["name"] not in volumes)
    yield from _twice("port", (port["containerPort"] for port in container.get("ports", ())))
    yield from (
        f"port {item['containerPort']}" for item in container.get("ports", ()) if not _is_port(item["containerPort"])
    )
    yield from _probes(container)
    yield from _resources(container.get("resources") or {})


def _probes(container: Object) -> Iterator[str]:
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        probe = container.get(name, {})
        if any(probe.get(key, 1) < 1 for key in ("periodSeconds", "timeoutSeconds", "failureThreshold")):
            yield f"{name} with nothing of a period, timeout or threshold"
        if name != "readinessProbe" and probe.get("successThreshold", 1) != 1:
            yield f"{name} with a successThreshold"
        if name == "readinessProbe" and "terminationGracePeriodSeconds" in probe:
            yield "a readinessProbe with terminationGracePeriodSeconds"


def _resources(resources: Object) -> Iterator[str]:
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    amounts = [*requests.items(), *limits.items()]
    if wrong := [value for _, value in amounts if not QUANTITY.fullmatch(str(value))]:
        yield f"the quantities {wrong}"
        return
    yield from (f"the resource {name!r}" for name, _ in amounts if not _is_resource(name))
    for name, value in requests.items():
        if _amount(value) > _amount(limits.get(name, "1E")):
            yield f"more {name} requested than allowed"


def _is_resource(name: str) -> bool:
    return "/" in name or name.startswith("hugepages-") or name in {"cpu", "memory", "ephemeral-storage"}


def _amount(value: Any) -> float:
    matched = QUANTITY.fullmatch(str(value))
    assert matched
    unit = matched[2] or ""
    return float(matched[1]) * (10 ** int(unit[1:]) if unit[:1] in {"e", "E"} and unit[1:].isdigit() else UNITS[unit])


def _volume(volume: Object) -> Iterator[str]:
    if "emptyDir" in volume:
        empty = volume["emptyDir"] or {}
        if not QUANTITY.fullmatch(str(empty.get("sizeLimit", "1"))) or empty.get("medium", "") not in MEDIA:
            yield f"the volume {volume['name']!r}"
    kinds = volume.keys() - {"name"}
    if len(kinds) > 1:
        yield f"two kinds of volume {volume['name']!r}"
    for item in (volume.get("secret") or volume.get("configMap") or {}).get("items", ()):
        if not KEY.fullmatch(item["key"]) or item["path"].startswith("/") or ".." in item["path"].split("/"):
            yield f"the item {item}"


def _service(spec: Object) -> Iterator[str]:
    for port in spec["ports"]:
        if not _is_port(port["port"]) or not _is_port(port.get("nodePort", 1)):
            yield f"port {port}"
        if port.get("nodePort") and spec.get("type", "ClusterIP") == "ClusterIP":
            yield "a nodePort of ClusterIP"
    kind = spec.get("type", "ClusterIP")
    if kind != "LoadBalancer" and (spec.get("loadBalancerClass") or spec.get("loadBalancerSourceRanges")):
        yield "a load balancer's part"
    if kind == "ClusterIP" and spec.get("externalTrafficPolicy"):
        yield "externalTrafficPolicy"
    if len(spec.get("ipFamilies", ())) > 1 and spec.get("ipFamilyPolicy", "SingleStack") == "SingleStack":
        yield "two families of a single stack"
    yield from (f"the network {cidr!r}" for cidr in spec.get("loadBalancerSourceRanges", ()) if not _is_network(cidr))
    yield from labels(spec.get("selector"))


def _ingress(spec: Object) -> Iterator[str]:
    for rule in spec["rules"]:
        if not _is_host(rule.get("host", "x")):
            yield f"the host {rule['host']!r}"
        for path in rule["http"]["paths"]:
            text, plain = path["path"], path["pathType"] != "ImplementationSpecific"
            if not text.startswith("/") or (plain and re.search(r"//|/\.\.?(/|$)|%2f", text, re.IGNORECASE)):
                yield f"the path {text!r}"
    yield from (f"the host {host!r}" for item in spec.get("tls", ()) for host in item["hosts"] if not _is_host(host))


def _network_policy(spec: Object) -> Iterator[str]:
    for rule in [*spec.get("ingress", ()), *spec.get("egress", ())]:
        yield from (f"port {port}" for port in rule.get("ports", ()) if not _is_port(port.get("port", 1)))
        for peer in [*rule.get("from", ()), *rule.get("to", ())]:
            block = peer.get("ipBlock")
            if not peer or (block and len(peer) > 1):
                yield f"the peer {peer}"
            if block and not all(_is_network(cidr) for cidr in [block["cidr"], *block.get("except", ())]):
                yield f"the network {block}"


def _twice(what: str, found: Iterable[Any]) -> Iterator[str]:
    yield from (f"the {what} {item!r} twice" for item, count in Counter(found).items() if count > 1)


def _is_port(port: Any) -> bool:
    return isinstance(port, str) or (isinstance(port, int) and 1 <= port <= 65535)


def _is_host(host: str) -> bool:
    return bool(SUBDOMAIN.fullmatch(host.removeprefix("*.")) and len(host) <= 253 and not _is_address(host))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return "/" in text


CHECKS: Mapping[str, Callable[[Object], Iterator[str]]] = {
    "Deployment": _deployment,
    "HTTPRoute": _route,
    "HorizontalPodAutoscaler": _autoscaler,
    "Ingress": _ingress,
    "Job": lambda spec: _pod(spec["template"]["spec"]),
    "NetworkPolicy": _network_policy,
    "Pod": _pod,
    "PodDisruptionBudget": _budget,
    "Service": _service,
}
