"""What of the chart is generated is up to date, and what stands in two places says the same."""

import json
import re

import jsonschema_rs
import pytest
import yaml

from connector import __version__
from tests.chart.generate import generated
from tests.chart.pod_security import violations
from tests.chart.rendering import CHART, chart
from tests.chart.values_table import bare_keys, rows

METADATA = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", ["README.md", "values.schema.json", "files/topics.yaml", "files/acls.yaml"])
def test_generated_files_are_up_to_date(path: str) -> None:
    assert (CHART / path).read_text(encoding="utf-8") == generated()[path], "run: python -m tests.chart.generate"


def test_every_value_is_explained() -> None:
    assert bare_keys(CHART / "values.yaml") == []
    assert all(row.description.endswith((".", "`.", ")")) for row in rows(CHART / "values.yaml"))


def test_the_schema_is_draft_07_and_closed() -> None:
    assert SCHEMA["$schema"] == "http://json-schema.org/draft-07/schema#"
    jsonschema_rs.Draft7Validator(SCHEMA)
    # What an umbrella chart shares with all its parts is for them as well.
    own = (item for name, item in SCHEMA["properties"].items() if name != "global")
    parts = [SCHEMA, *own, *SCHEMA["definitions"].values()]
    assert [part for part in parts if "properties" in part and part.get("additionalProperties") is not False] == []


def test_the_schema_knows_every_value_and_no_other() -> None:
    values = chart().values
    assert set(SCHEMA["properties"]) == {*values, "global"}
    assert set(SCHEMA["definitions"]["workload"]["properties"]) == set(values["workload"])


def test_versions_agree() -> None:
    assert METADATA["appVersion"] == __version__
    images = yaml.safe_load(METADATA["annotations"]["artifacthub.io/images"])
    assert [image["image"] for image in images] == [f"{chart().values['image']['repository']}:{__version__}"]


def test_the_chart_says_where_it_comes_from_and_is_packed_with_its_sets_of_values() -> None:
    assert METADATA["home"] in METADATA["sources"]
    assert METADATA["icon"].endswith("docs/icon.svg")
    assert (CHART.parent / "docs" / "icon.svg").exists()
    assert METADATA["maintainers"]
    assert not [line for line in (CHART / ".helmignore").read_text().splitlines() if line.startswith("ci")]


def test_the_changelog_and_artifact_hub_tell_the_same_changes() -> None:
    text = (CHART / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.split(r"^## ", text, flags=re.MULTILINE)[1]
    version, *_ = newest.splitlines()
    told = [" ".join(item.split()) for item in re.split(r"^- ", newest, flags=re.MULTILINE)[1:]]
    changes = yaml.safe_load(METADATA["annotations"]["artifacthub.io/changes"])
    assert version == METADATA["version"]
    assert told == [f"{change['kind']}: {' '.join(change['description'].split())}" for change in changes]


@pytest.mark.parametrize(
    ("pod", "violation"),
    [
        ({"hostNetwork": True}, "hostNetwork is true"),
        ({"volumes": [{"name": "x", "hostPath": {"path": "/"}}]}, "volume x is of kind hostPath"),
        ({"securityContext": {"sysctls": [{"name": "a", "value": "b"}]}}, "sysctls are set"),
        ({"containers": [{"name": "x"}]}, "container x may run as root"),
        ({"initContainers": [{"name": "x"}]}, "container x may escalate privileges"),
        ({"containers": [{"name": "x", "securityContext": {"privileged": True}}]}, "container x is privileged"),
        ({"containers": [{"name": "x", "securityContext": {"runAsUser": 0}}]}, "container x runs as user 0"),
        ({"containers": [{"name": "x"}]}, "container x keeps capabilities"),
        (
            {"containers": [{"name": "x", "securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}]},
            "container x adds capabilities",
        ),
        ({"containers": [{"name": "x"}]}, "container x has no seccomp profile"),
        ({"containers": [{"name": "x", "ports": [{"hostPort": 80}]}]}, "container x has a host port"),
    ],
)
def test_the_check_of_the_restricted_profile_finds_what_it_forbids(pod: dict[str, object], violation: str) -> None:
    assert violation in violations(pod)
