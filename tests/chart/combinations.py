"""Values that must work: the sets of helm/ci, and options that switch on one part each."""

from collections.abc import Mapping
from typing import Any

import yaml

from tests.chart.rendering import CHART, Values

PUBLIC: Values = {"config": {"callbacks": {"public_url": "https://hooks.example.com"}}}
SASL: Values = {
    "config": {"kafka": {"security_protocol": "SASL_SSL", "sasl": {"mechanism": "SCRAM-SHA-512"}}},
    "secrets": {
        "variables": {
            "CONNECTOR_KAFKA__SASL__USERNAME": "kafka-username",
            "CONNECTOR_KAFKA__SASL__PASSWORD": "kafka-password",
        }
    },
}
CREATED: Values = {
    "secrets": {
        "create": {
            "enabled": True,
            "values": {
                "account-sid": "AC" + "0" * 32,
                "auth-token": "fictional",
                "admin-token": "fictional",
                "kafka-username": "fictional",
                "kafka-password": "fictional",
            },
        }
    }
}
PEER = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kafka"}}}
KEDA_AUTHENTICATION = {"name": "kafka", "kind": "ClusterTriggerAuthentication"}
CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def merged(*values: Mapping[str, Any]) -> Values:
    """Values over values, as Helm merges them."""
    result: Values = {}
    for layer in values:
        for key, item in layer.items():
            below = result.get(key)
            result[key] = merged(below, item) if isinstance(item, Mapping) and isinstance(below, dict) else item
    return result


def workload(**values: Any) -> Values:
    """Values of every Deployment."""
    return {"workload": values}


def ci_sets() -> dict[str, Values]:
    """The sets of helm/ci by the name of the file."""
    return {
        file.name.removesuffix("-values.yaml"): yaml.safe_load(file.read_text(encoding="utf-8"))
        for file in sorted((CHART / "ci").glob("*-values.yaml"))
    }


OPTIONS: dict[str, Values] = {
    "callbacks": PUBLIC,
    "unverified callbacks": {"config": {"development": True, "callbacks": {"verify_signatures": False}}},
    "ingress": merged(PUBLIC, {"ingress": {"enabled": True, "tls": {"enabled": False}}}),
    "ingress of another host": merged(
        PUBLIC, {"ingress": {"enabled": True, "host": "inner.example.com", "path": "/x"}}
    ),
    "route": merged(PUBLIC, {"httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}]}}),
    "node port": merged(PUBLIC, {"service": {"type": "NodePort", "nodePort": 30080}}),
    "load balancer": merged(PUBLIC, {"service": {"type": "LoadBalancer", "annotations": {"a": "b"}}}),
    "one role": {"config": {"roles": ["commands"]}},
    "per role": merged(PUBLIC, {"perRole": {"enabled": True, "commands": {"replicas": 5}}}),
    "per role without callbacks": {"perRole": {"enabled": True}},
    "names": {"fullnameOverride": "tk", "nameOverride": "connector"},
    "long names": {"fullnameOverride": "a-name-that-is-longer-than-what-kubernetes-takes-for-a-name-of-an-object"},
    "labels": {"commonLabels": {"team": "messaging"}, "commonAnnotations": {"owner": "messaging@example.com"}},
    "image by digest": {"image": {"registry": "registry.example.com", "digest": "sha256:" + "0" * 64}},
    "pull secrets": {"imagePullSecrets": [{"name": "registry"}]},
    "created secret": CREATED,
    "external secret": {
        "secrets": {"externalSecret": {"enabled": True, "store": {"name": "vault"}, "remoteKey": "twilio"}}
    },
    "no twilio in the secret": {"secrets": {"variables": {"TWILIO_ACCOUNT_SID": None, "TWILIO_AUTH_TOKEN": None}}},
    "SASL": SASL,
    "mutual TLS": {
        "config": {"kafka": {"security_protocol": "SSL"}},
        "kafkaTls": {"enabled": True, "ca": {"secretName": "ca"}, "client": {"secretName": "user"}},
    },
    "no check": {"configCheck": {"enabled": False}},
    "no test": {"helmTest": {"enabled": False}},
    "offline test": {"helmTest": {"offline": True}},
    "scaled by CPU": workload(
        autoscaling={"cpu": {"enabled": True, "behavior": {"scaleDown": {"selectPolicy": "Disabled"}}}}
    ),
    "scaled by lag": workload(autoscaling={"lag": {"enabled": True}}),
    "scaled by lag, SASL": merged(SASL, workload(autoscaling={"lag": {"enabled": True}})),
    "commands scaled to zero": {
        "perRole": {"enabled": True, "commands": {"autoscaling": {"lag": {"enabled": True, "minReplicas": 0}}}}
    },
    "scaled with another authentication": workload(
        autoscaling={
            "lag": {"enabled": True, "authenticationRef": {"name": "kafka", "kind": "ClusterTriggerAuthentication"}}
        }
    ),
    "no budget": workload(podDisruptionBudget={"enabled": False}),
    "budget by share": workload(podDisruptionBudget={"minAvailable": "50%"}),
    "no spread": workload(topologySpread={"enabled": False}),
    "long grace": merged(workload(terminationGracePeriodSeconds=120), {"config": {"shutdown_grace": "1m30s"}}),
    "no preStop": workload(preStopSeconds=0),
    "recreate": workload(strategy={"type": "Recreate", "rollingUpdate": None}),
    "placement": workload(
        nodeSelector={"disk": "ssd"},
        tolerations=[{"key": "messaging", "operator": "Exists"}],
        affinity={"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
        priorityClassName="high",
        runtimeClassName="gvisor",
        dnsPolicy="None",
        dnsConfig={"nameservers": ["10.0.0.10"]},
        hostAliases=[{"ip": "10.0.0.1", "hostnames": ["kafka"]}],
    ),
    "memory for recordings": workload(tmp={"medium": "Memory", "sizeLimit": "256Mi"}),
    "pods with marks": workload(
        annotations={"a": "1"}, podAnnotations={"b": "2"}, podLabels={"c": "3"}, replicas=0, minReadySeconds=5
    ),
    "extras": workload(
        extraEnv=[{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
        extraEnvFrom=[{"configMapRef": {"name": "common"}}],
        extraVolumes=[{"name": "krb5", "configMap": {"name": "krb5"}}],
        extraVolumeMounts=[{"name": "krb5", "mountPath": "/etc/krb5"}],
        extraContainers=[{"name": "proxy", "image": "proxy:1", "securityContext": CONTAINER_SECURITY}],
        extraInitContainers=[{"name": "wait", "image": "wait:1", "securityContext": CONTAINER_SECURITY}],
    ),
    "extra objects": {
        "extraObjects": [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-more"}, "data": {}},
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: text}\n",
        ]
    },
    "no service account": {"serviceAccount": {"create": False}},
    "OpenShift": {"podSecurityContext": {"runAsUser": None, "runAsGroup": None, "fsGroup": None}},
    "network policy": merged(PUBLIC, {"networkPolicy": {"enabled": True}}),
    "narrow network policy": {
        "networkPolicy": {"enabled": True, "egress": {"dns": [PEER], "kafka": {"to": [PEER], "ports": [9094]}}}
    },
    "service monitor": {"metrics": {"serviceMonitor": {"enabled": True, "relabelings": [{"action": "labelmap"}]}}},
    "pod monitor": {
        "metrics": {"podMonitor": {"enabled": True, "metricRelabelings": [{"action": "drop", "regex": "x"}]}},
        "adminService": {"enabled": False},
    },
    "alerts": {"metrics": {"prometheusRule": {"enabled": True}}},
    "dashboard": {"metrics": {"dashboard": {"enabled": True}}},
    "topics by job": {"topicsJob": {"enabled": True}},
    "topics by job, SASL": merged(SASL, {"topicsJob": {"enabled": True, "secretName": "kafka-admin"}}),
    "topics by job, created secret": merged(SASL, CREATED, {"topicsJob": {"enabled": True}}),
    "topics by Strimzi": {"strimzi": {"cluster": "events", "topics": {"enabled": True}}},
    "user by Strimzi": {
        "strimzi": {"cluster": "events", "apiVersion": "kafka.strimzi.io/v1beta2", "user": {"enabled": True}}
    },
    "ports": {"config": {"admin": {"port": 9191}, "callbacks": {"port": 8181}}},
    "subchart": {
        "enabled": True,
        "global": {
            "storageClass": "fast",
            "imageRegistry": "registry.example.com/",
            "imagePullSecrets": ["shared", {"name": "more"}],
        },
        "imagePullSecrets": [{"name": "own"}],
    },
    "variables in the configuration": {
        "config": {
            "kafka": {"partitions": "${PARTITIONS:-12}", "compression": "${COMPRESSION:-lz4}"},
            "admin": {"port": "${ADMIN_PORT}"},
            "shutdown_grace": "${GRACE:-30s}",
        },
        "workload": {"extraEnv": [{"name": "ADMIN_PORT", "value": "9191"}]},
    },
    "templates in the configuration": {
        "config": {
            "kafka": {
                "topic_prefix": "{{ .Release.Name }}.twilio",
                "bootstrap_servers": "{{ .Values.global.brokers }}",
            },
            "callbacks": {"public_url": "https://{{ .Release.Name }}.example.com"},
        },
        "global": {"brokers": "kafka-0.kafka:9092,kafka-1.kafka:9093"},
        "networkPolicy": {"enabled": True},
    },
    "another namespace": {"namespaceOverride": "other", "metrics": {"prometheusRule": {"enabled": True}}},
    "an existing configuration": {"existingConfigMap": {"name": "mine", "key": "twilio.yaml"}},
    "both families": merged(PUBLIC, {"service": {"ipFamilies": ["IPv6", "IPv4"], "ipFamilyPolicy": "PreferDualStack"}}),
    "a load balancer of a class": merged(
        PUBLIC,
        {
            "service": {
                "type": "LoadBalancer",
                "loadBalancerClass": "example.com/internal",
                "loadBalancerSourceRanges": ["203.0.113.0/24", "2001:db8::/32"],
                "externalTrafficPolicy": "Local",
            }
        },
    ),
    "more hosts": merged(PUBLIC, {"ingress": {"enabled": True, "extraHosts": ["old.example.com", "*.example.org"]}}),
    "metrics over TLS": {
        "metrics": {
            "serviceMonitor": {
                "enabled": True,
                "port": "metrics-tls",
                "scheme": "https",
                "tlsConfig": {"insecureSkipVerify": True},
            }
        }
    },
    "hooks and arguments": workload(
        args=["run", "--workers", "2"], lifecycle={"postStart": {"exec": {"command": ["true"]}}}
    ),
}

EXCLUSIVE: tuple[frozenset[str], ...] = (
    # What comes from a ConfigMap only the pod knows, and a list replaces another.
    frozenset({"extras", "variables in the configuration"}),
    frozenset({"scaled by CPU", "scaled by lag", "scaled by lag, SASL", "scaled with another authentication"}),
    frozenset({"commands scaled to zero", "scaled by CPU"}),
    frozenset({"created secret", "external secret", "topics by job, created secret"}),
    frozenset({"topics by job", "topics by job, SASL", "topics by job, created secret", "topics by Strimzi"}),
    frozenset({"service monitor", "pod monitor"}),
    frozenset({"metrics over TLS", "pod monitor"}),
    frozenset({"external secret", "topics by job"}),
    frozenset({"SASL", "mutual TLS"}),
    frozenset({"scaled by lag, SASL", "mutual TLS"}),
    frozenset({"topics by job, SASL", "mutual TLS"}),
    frozenset({"topics by job, created secret", "mutual TLS"}),
    frozenset({"one role", "ingress"}),
    frozenset({"one role", "ingress of another host"}),
    frozenset({"one role", "route"}),
    frozenset({"one role", "more hosts"}),
    frozenset({"a load balancer of a class", "node port", "load balancer"}),
    frozenset({"ingress", "ingress of another host", "more hosts"}),
    frozenset({"templates in the configuration", "mutual TLS"}),
)
"""Options that contradict each other: at most one of each set at a time."""
