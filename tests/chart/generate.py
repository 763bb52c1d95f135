"""`python -m tests.chart.generate`: write what of helm/ follows from values.yaml and from the connector.

The table of values in README.md, the part `config` of values.schema.json, files/topics.yaml and files/acls.yaml.
"""

import json
from pathlib import Path
from typing import Any

import yaml

from connector.catalog import acls_of, topics_of
from connector.kafka.topics import Topic
from connector.settings import load
from tests.chart.config_schema import PREFIX, config_schema
from tests.chart.kubernetes_schema import PREFIX as KUBERNETES
from tests.chart.kubernetes_schema import kubernetes_definitions
from tests.chart.values_table import markdown, rows

GENERATED = (PREFIX, KUBERNETES)
OWN = "#/definitions/"
CHART = Path(__file__).parents[2] / "helm"
BEGIN, END = "<!-- values: generated -->\n", "<!-- values: end -->"

TOPICS_HEAD = """\
# Generated (python -m tests.chart.generate): every topic without its prefix, and what Strimzi makes of it.
# `twilio-kafka topics list` is the source.
"""
ACLS_HEAD = """\
# Generated (python -m tests.chart.generate): every right of all roles, names without the prefix they begin with;
# `console` is what only the console needs, and who replays by hand. `twilio-kafka topics list --acls` is the source.
"""
# Everything that there is to be allowed.
WHOLE = {
    "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
    "TWILIO_AUTH_TOKEN": "fictional",
    "CONNECTOR_CALLBACKS__PUBLIC_URL": "https://hooks.example.com",
}
TYPES = {"topic": "topic", "group": "group", "transactional-id": "transactionalId"}


def readme() -> str:
    """README.md with the table of values."""
    before, _, rest = (CHART / "README.md").read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}{markdown(rows(CHART / 'values.yaml'))}\n{END}{after}"


def values_schema() -> str:
    """values.schema.json with the connector's configuration, Kubernetes' definitions, and what must not be missing."""
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    own = {name: item for name, item in schema["definitions"].items() if not name.startswith(GENERATED)}
    defaults = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    config, definitions = config_schema()
    schema["definitions"] = own
    for key in schema["properties"].keys() - {"config", "global"}:
        require(schema["properties"][key], defaults[key], own)
    # A role says only what differs from `workload`.
    own["role"] = optional(own["workload"])
    schema["properties"]["config"] = config
    schema["definitions"] = own | definitions | kubernetes_definitions()
    needed = (key for key, item in schema["properties"].items() if _is_needed(defaults[key], item, own))
    schema["required"] = sorted({*needed, "config"} - {"global", "enabled"})
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def require(schema: dict[str, Any], defaults: Any, definitions: dict[str, Any]) -> None:
    """Require the keys whose defaults the templates rely on, so that a `null` is refused by its name.

    Texts and free lists and mappings may be taken away: that is the same as leaving them empty.
    """
    schema = _resolved(schema, definitions)
    known = schema.get("properties", {})
    if not known or not isinstance(defaults, dict):
        return
    for key, item in known.items():
        require(item, defaults.get(key), definitions)
    needed = [key for key in known if _is_needed(defaults.get(key), known[key], definitions)]
    schema.pop("required", None)
    if needed:
        schema["required"] = sorted(needed)


def _is_needed(default: Any, schema: dict[str, Any], definitions: dict[str, Any]) -> bool:
    schema = _resolved(schema, definitions)
    if default in (None, "") or isinstance(default, list) or "null" in schema.get("type", ()):
        return False
    return "properties" in schema if isinstance(default, dict) else True


def _resolved(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """What a reference to a definition of ours means; what Kubernetes defines is free for us."""
    found: dict[str, Any] = definitions.get(schema.get("$ref", "").removeprefix(OWN), schema)
    return found


def optional(schema: Any) -> Any:
    """The same with nothing required, but for what stands in lists."""
    match schema:
        case {"items": _}:
            return schema
        case dict():
            return {key: optional(item) for key, item in schema.items() if key != "required"}
        case _:
            return schema


def topics() -> str:
    """files/topics.yaml."""
    settings = load(environ={}, need_connections=False)
    prefix = f"{settings.kafka.topic_prefix}."
    lines = [_line(topic, prefix, partitions=settings.kafka.partitions) for topic in topics_of(settings)]
    return TOPICS_HEAD + "\n".join(lines) + "\n"


def _line(topic: Topic, prefix: str, *, partitions: int) -> str:
    name = topic.name.removeprefix(prefix)
    row: dict[str, object] = {"config": dict(topic.config)}
    if topic.partitions != partitions:
        row["partitions"] = topic.partitions
    return f"{name}: {json.dumps(row)}"


def acls() -> str:
    """files/acls.yaml."""
    settings = load(environ=WHOLE)
    found: dict[tuple[str, ...], dict[str, list[str]]] = {}
    for acl in acls_of(settings):
        name = acl.name.removeprefix(settings.kafka.topic_prefix)
        place = (TYPES[acl.resource], name, "prefix" if acl.prefixed else "literal")
        row = found.setdefault(place, {"operations": [], "console": []})
        row["operations" if acl.is_vital else "console"].append(acl.operation)
    lines = [
        json.dumps({"type": kind, "name": name, "pattern": pattern, **row})
        for (kind, name, pattern), row in found.items()
    ]
    return ACLS_HEAD + "".join(f"- {line}\n" for line in lines)


def generated() -> dict[str, str]:
    """Each generated file, by its path below helm/, as it should be."""
    return {
        "README.md": readme(),
        "values.schema.json": values_schema(),
        "files/topics.yaml": topics(),
        "files/acls.yaml": acls(),
    }


def main() -> None:
    """Write the files."""
    for path, text in generated().items():
        (CHART / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
