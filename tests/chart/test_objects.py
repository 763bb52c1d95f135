"""What the chart makes: Deployments, their environment and end, what is exposed, what is allowed."""

from typing import Any

import pytest

from connector.catalog import acls_of
from connector.settings import load
from connector.simulator import ACCOUNT_SID
from tests.chart.combinations import CREATED, OPTIONS, PEER, PUBLIC, SASL, ci_sets, merged, workload
from tests.chart.generate import TYPES, WHOLE
from tests.chart.rendering import (
    NAME,
    NAMESPACE,
    RELEASE,
    Manifest,
    Values,
    configuration,
    manifests,
    notes,
    of_kind,
    only,
    only_named,
    pod_specs,
)

FULL = f"{RELEASE}-{NAME}"


def connector(deployment: Manifest) -> Any:
    return deployment["spec"]["template"]["spec"]["containers"][0]


def environment(deployment: Manifest) -> dict[str, str]:
    return {item["name"]: item["value"] for item in connector(deployment)["env"] if "value" in item}


# --- Deployments ------------------------------------------------------------------------------------------------------
def test_without_values_one_deployment_watches_and_executes() -> None:
    deployment = only({}, "Deployment")
    assert deployment["metadata"]["name"] == FULL
    assert [port["name"] for port in connector(deployment)["ports"]] == ["admin"]
    assert of_kind({}, "Service")[0]["spec"]["clusterIP"] == "None"


def test_per_role_there_is_a_deployment_for_each_role_of_the_configuration() -> None:
    deployments = of_kind(merged(PUBLIC, {"perRole": {"enabled": True}}), "Deployment")
    roles = {item["metadata"]["name"]: environment(item)["CONNECTOR_ROLES"] for item in deployments}
    assert roles == {f"{FULL}-{role}": role for role in ("callbacks", "commands", "watch")}
    ports = {item["metadata"]["name"]: len(connector(item)["ports"]) for item in deployments}
    assert ports == {f"{FULL}-callbacks": 2, f"{FULL}-commands": 1, f"{FULL}-watch": 1}


def test_a_role_has_what_workload_says_but_for_what_it_says_itself() -> None:
    values = {"perRole": {"enabled": True, "watch": {"replicas": 0}}, "workload": {"replicas": 4, "minReadySeconds": 7}}
    commands, watch = of_kind(values, "Deployment")
    assert (commands["spec"]["replicas"], watch["spec"]["replicas"]) == (4, 0)
    assert watch["spec"]["minReadySeconds"] == 7


@pytest.mark.parametrize(
    ("values", "grace"),
    [
        ({}, 35),
        ({"config": {"shutdown_grace": "1m30s"}}, 100),
        ({"config": {"shutdown_grace": "1500ms"}, "workload": {"preStopSeconds": 0}}, 7),
        (workload(terminationGracePeriodSeconds=30), 30),
    ],
)
def test_a_pod_has_the_time_to_drain(values: Values, grace: int) -> None:
    assert only(values, "Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == grace


def test_the_endpoint_leaves_before_the_process_is_told_to_stop() -> None:
    assert connector(only({}, "Deployment"))["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}
    assert "lifecycle" not in connector(only(OPTIONS["no preStop"], "Deployment"))


def test_probes_ask_the_admin_port_that_the_configuration_names() -> None:
    container = connector(only(OPTIONS["ports"], "Deployment"))
    assert {"name": "admin", "containerPort": 9191} in container["ports"]
    probes = [container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")]
    assert [(probe["path"], probe["port"]) for probe in probes] == [
        ("/livez", "admin"),
        ("/livez", "admin"),
        ("/readyz", "admin"),
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"config": {"log": {"level": "debug"}}}),
        (CREATED, merged(CREATED, {"secrets": {"create": {"values": {"auth-token": "another"}}}})),
        ({}, OPTIONS["created secret"]),
    ],
)
def test_a_change_of_configuration_or_secret_replaces_the_pods(before: Values, after: Values) -> None:
    templates = [
        only(values, "Deployment")["spec"]["template"]["metadata"]["annotations"] for values in (before, after)
    ]
    assert templates[0] != templates[1]


def test_a_change_of_anything_else_does_not() -> None:
    templates = [only(values, "Deployment")["spec"]["template"] for values in ({}, {"workload": {"replicas": 9}})]
    assert templates[0] == templates[1]


def test_the_configuration_is_checked_first_with_the_same_environment_and_files() -> None:
    pod = only(OPTIONS["extras"], "Deployment")["spec"]["template"]["spec"]
    wait, check = pod["initContainers"]
    assert (wait["name"], check["args"]) == ("wait", ["config", "check"])
    for part in ("env", "envFrom", "volumeMounts", "image"):
        assert check[part] == pod["containers"][0][part]


def test_recordings_have_room_in_tmp() -> None:
    pod = only({}, "Deployment")["spec"]["template"]["spec"]
    assert {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}} in pod["volumes"]
    assert {"name": "tmp", "mountPath": "/tmp"} in pod["containers"][0]["volumeMounts"]  # noqa: S108 - in a pod


# --- secrets ----------------------------------------------------------------------------------------------------------
def test_secrets_come_as_files_that_variables_name() -> None:
    deployment = only(SASL, "Deployment")
    assert environment(deployment)["CONNECTOR_KAFKA__SASL__PASSWORD_FILE"] == "/etc/twilio-kafka/secrets/kafka-password"
    volume = next(item for item in deployment["spec"]["template"]["spec"]["volumes"] if item["name"] == "secrets")
    assert {"key": "kafka-password", "path": "kafka-password"} in volume["secret"]["items"]
    assert volume["secret"]["secretName"] == FULL
    assert all("FILE" in name for name in environment(deployment) if "PASSWORD" in name or "TOKEN" in name)


def test_what_the_configuration_gives_is_not_asked_of_the_secret() -> None:
    given = {"config": {"connections": {"default": {"account_sid": ACCOUNT_SID}}}}
    assert "TWILIO_ACCOUNT_SID_FILE" not in environment(only(given, "Deployment"))
    assert "TWILIO_AUTH_TOKEN_FILE" in environment(only(given, "Deployment"))


def test_without_a_default_connection_its_variables_are_left_out() -> None:
    names = environment(only({"config": {"connections": {"sales": {"account_sid": ACCOUNT_SID}}}}, "Deployment"))
    assert sorted(names) == ["CONNECTOR_ADMIN__TOKEN_FILE", "CONNECTOR_CONFIG"]


def test_no_secret_is_made_unless_asked_for() -> None:
    assert of_kind({}, "Secret") == []
    assert only(CREATED, "Secret")["metadata"]["name"] == FULL
    assert only(OPTIONS["external secret"], "ExternalSecret")["spec"]["target"]["name"] == FULL


def test_no_secret_stands_in_a_configmap() -> None:
    values = merged(CREATED, SASL, {"topicsJob": {"enabled": True}})
    assert "fictional" not in str([item["data"] for item in of_kind(values, "ConfigMap")])


# --- scaling ----------------------------------------------------------------------------------------------------------
def test_keda_follows_every_command_topic_of_the_group() -> None:
    triggers = only(OPTIONS["scaled by lag"], "ScaledObject")["spec"]["triggers"]
    topics = {trigger["metadata"]["topic"] for trigger in triggers}
    assert {"twilio.commands.send-message", "twilio.commands.place-call", "twilio.commands.call-api"} <= topics
    assert {trigger["metadata"]["consumerGroup"] for trigger in triggers} == {"twilio-command"}
    assert "authenticationRef" not in triggers[0]


def test_keda_gets_the_credentials_of_the_broker_from_the_secret() -> None:
    values = OPTIONS["scaled by lag, SASL"]
    metadata = only(values, "ScaledObject")["spec"]["triggers"][0]["metadata"]
    assert (metadata["sasl"], metadata["tls"]) == ("scram_sha512", "enable")
    targets = only(values, "TriggerAuthentication")["spec"]["secretTargetRef"]
    assert {"parameter": "password", "name": FULL, "key": "kafka-password"} in targets


def test_lag_scales_only_what_executes_commands() -> None:
    values = merged(PUBLIC, {"perRole": {"enabled": True}, "workload": {"autoscaling": {"lag": {"enabled": True}}}})
    assert only(values, "ScaledObject")["spec"]["scaleTargetRef"]["name"] == f"{FULL}-commands"
    assert [item["spec"].get("replicas") for item in of_kind(values, "Deployment")] == [2, None, 2]


# --- exposed ----------------------------------------------------------------------------------------------------------
def test_only_the_path_of_the_callbacks_is_exposed() -> None:
    ingress = only(OPTIONS["ingress"], "Ingress")
    assert [path["path"] for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]] == ["/callbacks"]
    assert ingress["spec"]["rules"][0]["host"] == "hooks.example.com"
    route = only(OPTIONS["route"], "HTTPRoute")
    assert [item["path"]["value"] for rule in route["spec"]["rules"] for item in rule["matches"]] == ["/callbacks"]
    assert route["spec"]["hostnames"] == ["hooks.example.com"]


def test_the_callback_service_has_no_way_to_the_admin_port() -> None:
    service = only_named(PUBLIC, "Service", f"{FULL}-callbacks")
    assert [port["targetPort"] for port in service["spec"]["ports"]] == ["callbacks"]
    ingress = only(OPTIONS["ingress"], "Ingress")["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    assert ingress["name"] == service["metadata"]["name"]


def test_a_path_in_front_is_taken_away_by_the_gateway() -> None:
    rule = only(ci_sets()["gateway"], "HTTPRoute")["spec"]["rules"][0]
    assert rule["matches"][0]["path"]["value"] == "/twilio/callbacks"
    assert rule["filters"][0]["urlRewrite"]["path"]["replacePrefixMatch"] == "/callbacks"


def test_the_notes_have_the_exact_address_to_give_to_twilio() -> None:
    assert "https://hooks.example.com/callbacks/inbound-message\n" in notes(PUBLIC)
    assert "https://api.example.com/twilio/callbacks/events\n" in notes(ci_sets()["gateway"])
    assert "No callbacks: set config.callbacks.public_url" in notes({})


def test_the_network_policy_lets_nothing_in_or_out_but_what_is_listed() -> None:
    policy = only(OPTIONS["network policy"], "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert [rule["ports"][0]["port"] for rule in policy["ingress"]] == [9090, 8080]
    assert [[port["port"] for port in rule["ports"]] for rule in policy["egress"]] == [[53, 53], [9092], [443]]
    assert policy["ingress"][0]["from"] == [{"podSelector": {}}]


def test_the_network_policy_knows_the_brokers_ports() -> None:
    brokers = {"kafka": {"bootstrap_servers": "a.example.com:9093,b.example.com:9093,[fc00::1]:9094"}}
    policy = only({"config": brokers, "networkPolicy": {"enabled": True}}, "NetworkPolicy")["spec"]
    assert [port["port"] for port in policy["egress"][1]["ports"]] == [9093, 9094]


def test_the_network_policy_is_on_where_the_chart_knows_the_peers() -> None:
    strimzi = {"strimzi": {"cluster": "events", "namespace": "kafka"}}
    brokers = only(strimzi, "NetworkPolicy")["spec"]["egress"][1]
    assert "ports" not in brokers
    assert brokers["to"][0]["podSelector"]["matchLabels"] == {"strimzi.io/cluster": "events"}
    assert brokers["to"][0]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "kafka"}
    assert of_kind({"networkPolicy": {"egress": {"kafka": {"to": [PEER]}}}}, "NetworkPolicy")
    for unknown in (
        {},
        merged(strimzi, {"networkPolicy": {"enabled": False}}),
        merged(strimzi, {"metrics": {"podMonitor": {"enabled": True}}}),
        merged(strimzi, workload(extraEnv=[{"name": "https_proxy", "value": "http://proxy:3128"}])),
    ):
        assert of_kind(unknown, "NetworkPolicy") == []


def test_the_notes_say_which_peers_are_not_known() -> None:
    text = notes({"metrics": {"podMonitor": {"enabled": True}}})
    assert "No NetworkPolicy" in text
    assert "networkPolicy.egress.kafka.to: which peers the brokers are\n" in text
    assert "networkPolicy.ingress.admin: where Prometheus scrapes from" in text
    assert "networkPolicy.ingress.admin" not in notes({})
    assert "disabled by networkPolicy.enabled" in notes({"networkPolicy": {"enabled": False}})
    assert "No NetworkPolicy" not in notes({"networkPolicy": {"enabled": True}})


def test_the_network_policy_follows_the_addresses_of_the_configuration() -> None:
    config = {
        "connections": {
            "default": {
                "api_url": "http://simulator:8090",
                "monitor_url": "https://proxy.example.com",
                "product_urls": {"verify": "https://proxy.example.com:9443"},
            }
        },
        "kafka": {"schema_registry": {"url": "http://registry:8081"}},
        "callbacks": {"public_url": "https://hooks.example.com:8443/x"},
        "development": True,
    }
    policy = only({"config": config, "networkPolicy": {"enabled": True}}, "NetworkPolicy")["spec"]
    assert sorted(port["port"] for port in policy["egress"][3]["ports"]) == [443, 8081, 8090, 8443, 9443]
    assert "to" not in policy["egress"][3]


# --- an umbrella chart ------------------------------------------------------------------------------------------------
def test_an_umbrella_chart_gives_registry_and_pull_secrets() -> None:
    for pod in pod_specs(merged(OPTIONS["subchart"], OPTIONS["topics by job"])).values():
        assert pod["imagePullSecrets"] == [{"name": "shared"}, {"name": "more"}, {"name": "own"}]
        assert {item["image"] for item in pod["containers"]} == {"registry.example.com/twilio-kafka-connector:0.1.0"}


def test_everything_is_in_the_other_namespace() -> None:
    assert {item["metadata"]["namespace"] for item in manifests(OPTIONS["another namespace"])} == {"other"}
    assert 'namespace="other"' in str(only(OPTIONS["another namespace"], "PrometheusRule"))


def test_the_configuration_is_a_template_and_keeps_variables_for_the_connector() -> None:
    assert configuration(OPTIONS["templates in the configuration"])["kafka"] == {
        "bootstrap_servers": "kafka-0.kafka:9092,kafka-1.kafka:9093",
        "topic_prefix": "demo.twilio",
        "partitions": 6,
        "replication_factor": 3,
        "security_protocol": "PLAINTEXT",
    }
    policy = only(OPTIONS["templates in the configuration"], "NetworkPolicy")["spec"]
    assert [port["port"] for port in policy["egress"][1]["ports"]] == [9092, 9093]
    assert "https://demo.example.com/callbacks/inbound-message" in notes(OPTIONS["templates in the configuration"])
    values = OPTIONS["variables in the configuration"]
    assert configuration(values)["admin"]["port"] == "${ADMIN_PORT}"
    assert {"name": "admin", "containerPort": 9191} in connector(only(values, "Deployment"))["ports"]
    assert only(values, "Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 40


def test_an_existing_configuration_is_mounted_under_the_name_that_is_read() -> None:
    values = merged(OPTIONS["an existing configuration"], {"topicsJob": {"enabled": True}})
    for pod in pod_specs(values).values():
        assert {"name": "mine", "items": [{"key": "twilio.yaml", "path": "connector.yaml"}]} in [
            volume["configMap"] for volume in pod["volumes"] if "configMap" in volume
        ]
    assert of_kind(OPTIONS["an existing configuration"], "ConfigMap") == []


def test_hooks_of_the_values_go_beside_the_wait_before_the_stop() -> None:
    container = connector(only(OPTIONS["hooks and arguments"], "Deployment"))
    assert container["lifecycle"] == {
        "postStart": {"exec": {"command": ["true"]}},
        "preStop": {"sleep": {"seconds": 5}},
    }
    assert container["args"] == ["run", "--workers", "2"]
    own = workload(lifecycle={"preStop": {"exec": {"command": ["drain"]}}})
    assert connector(only(own, "Deployment"))["lifecycle"] == {"preStop": {"exec": {"command": ["drain"]}}}


def test_a_broken_release_does_not_block_a_drain() -> None:
    assert only({}, "PodDisruptionBudget")["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_every_host_leads_to_the_callbacks() -> None:
    spec = only(OPTIONS["more hosts"], "Ingress")["spec"]
    hosts = ["hooks.example.com", "old.example.com", "*.example.org"]
    assert [rule["host"] for rule in spec["rules"]] == spec["tls"][0]["hosts"] == hosts


def test_ipv6_alone_is_enough() -> None:
    services = [item["spec"]["ipFamilies"] for item in of_kind(ci_sets()["ipv6"], "Service")]
    assert services == [["IPv6"], ["IPv6"]]
    assert configuration(ci_sets()["ipv6"])["admin"]["host"] == "::"


def test_the_notes_explain_an_image_without_registry_and_secrets_of_another_namespace() -> None:
    assert "has no registry" in notes({})
    assert "has no registry" not in notes(ci_sets()["ingress"])
    text = notes(ci_sets()["strimzi"])
    assert "Strimzi makes its Secrets in namespace kafka" in text
    assert "kubectl get secret events-cluster-ca-cert --namespace kafka" in text
    assert "kubectl get secret twilio --namespace kafka" in text
    assert "Strimzi makes" not in notes({"strimzi": {"cluster": "events"}})


# --- topics -----------------------------------------------------------------------------------------------------------
def test_the_topics_job_runs_before_and_brings_what_it_needs() -> None:
    job = only(OPTIONS["topics by job, created secret"], "Job")
    pod = job["spec"]["template"]["spec"]
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert pod["containers"][0]["args"] == ["topics", "apply"]
    needed = {"ConfigMap": f"{FULL}-topics", "Secret": f"{FULL}-topics"}
    for kind, name in needed.items():
        hook = only_named(OPTIONS["topics by job, created secret"], kind, name)
        assert hook["metadata"]["annotations"]["helm.sh/hook-weight"] == "-5"
    assert sorted(only_named(OPTIONS["topics by job, created secret"], "Secret", f"{FULL}-topics")["data"]) == [
        "kafka-password",
        "kafka-username",
    ]


def test_the_topics_job_may_have_a_user_of_its_own() -> None:
    volumes = only(OPTIONS["topics by job, SASL"], "Job")["spec"]["template"]["spec"]["volumes"]
    assert [item["secret"]["secretName"] for item in volumes if "secret" in item] == ["kafka-admin"]


def test_strimzi_makes_every_topic_with_the_partitions_of_the_configuration() -> None:
    topics = {item["spec"]["topicName"]: item["spec"] for item in of_kind(ci_sets()["strimzi"], "KafkaTopic")}
    assert topics["twilio.messages"] == {
        "topicName": "twilio.messages",
        "partitions": 6,
        "replicas": 3,
        "config": {"cleanup.policy": "delete", "min.insync.replicas": 2},
    }
    assert topics["twilio.cursors"]["config"]["cleanup.policy"] == "compact"
    assert topics["twilio.recording-media"]["config"]["retention.ms"] == 86400000


def rights(*, console: bool, prefix: str = "twilio") -> set[tuple[str, str, str, str]]:
    values = {"config": {"kafka": {"topic_prefix": prefix}}, "strimzi": {"user": {"console": console}}}
    acls = only(merged(ci_sets()["strimzi"], values), "KafkaUser")["spec"]["authorization"]["acls"]
    resources = ((acl["resource"], operation) for acl in acls for operation in acl["operations"])
    return {(found["type"], found["name"], found["patternType"], operation) for found, operation in resources}


@pytest.mark.parametrize("console", [True, False])
@pytest.mark.parametrize("prefix", ["twilio", "sales"])
def test_strimzi_gives_the_user_the_rights_that_the_connector_names_and_no_other(*, console: bool, prefix: str) -> None:
    settings = load(environ={**WHOLE, "CONNECTOR_KAFKA__TOPIC_PREFIX": prefix})
    assert rights(console=console, prefix=prefix) == {
        (TYPES[acl.resource], acl.name, "prefix" if acl.prefixed else "literal", acl.operation)
        for acl in acls_of(settings, console=console)
    }


# --- everything -------------------------------------------------------------------------------------------------------
def test_more_objects_may_be_templates() -> None:
    names = [item["metadata"]["name"] for item in of_kind(OPTIONS["extra objects"], "ConfigMap")]
    assert f"{RELEASE}-more" in names
    assert "text" in names


def test_labels_and_annotations_of_all_are_on_all() -> None:
    for item in manifests(OPTIONS["labels"]):
        assert item["metadata"]["labels"]["team"] == "messaging"
        assert item["metadata"]["annotations"]["owner"] == "messaging@example.com"
        assert item["metadata"]["namespace"] == NAMESPACE


def test_the_test_asks_doctor() -> None:
    pod = only({}, "Pod")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert pod["spec"]["containers"][0]["args"] == ["doctor"]
    assert only(OPTIONS["offline test"], "Pod")["spec"]["containers"][0]["args"] == ["doctor", "--offline"]


def test_certificates_are_mounted_and_named_in_the_configuration() -> None:
    values = OPTIONS["mutual TLS"]
    assert configuration(values)["kafka"]["tls"] == {
        "ca_file": "/etc/twilio-kafka/ca/ca.crt",
        "cert_file": "/etc/twilio-kafka/client/tls.crt",
        "key_file": "/etc/twilio-kafka/client/tls.key",
    }
    mounts = {item["name"]: item["mountPath"] for item in connector(only(values, "Deployment"))["volumeMounts"]}
    assert (mounts["kafka-ca"], mounts["kafka-client"]) == ("/etc/twilio-kafka/ca", "/etc/twilio-kafka/client")


def test_an_image_by_digest_is_that_image() -> None:
    image = connector(only(OPTIONS["image by digest"], "Deployment"))["image"]
    assert image == f"registry.example.com/twilio-kafka-connector@sha256:{'0' * 64}"
