"""`python -m tests.chart.generate`: write what of helm/ follows from values.yaml and from the connector.

The table of values in README.md, the part `config` of values.schema.json, and files/topics.yaml.
"""

import json
from pathlib import Path

from connector.app import topics_of
from connector.kafka.fitness import Topic
from connector.settings import load
from tests.chart.config_schema import PREFIX, config_schema
from tests.chart.values_table import markdown, rows

CHART = Path(__file__).parents[2] / "helm"
BEGIN, END = "<!-- values: generated -->\n", "<!-- values: end -->"

READ, WRITE, BOTH = ["Read"], ["Write"], ["Read", "Write"]
OPERATIONS = {"commands": READ, "cursors": BOTH, "journal": BOTH, "control": BOTH}
"""What the connector does with topics, by the first part of their name; it writes to all others."""

TOPICS_HEAD = """\
# Generated (python -m tests.chart.generate): every topic without its prefix, what Strimzi makes of it, and what the
# connector does with it beside Describe and DescribeConfigs. `twilio-kafka topics list` is the source.
"""


def readme() -> str:
    """README.md with the table of values."""
    before, _, rest = (CHART / "README.md").read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}{markdown(rows(CHART / 'values.yaml'))}\n{END}{after}"


def values_schema() -> str:
    """values.schema.json with the connector's configuration."""
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    own = {name: item for name, item in schema["definitions"].items() if not name.startswith(PREFIX)}
    schema["properties"]["config"], definitions = config_schema()
    schema["definitions"] = own | definitions
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def topics() -> str:
    """files/topics.yaml."""
    settings = load(environ={}, need_connections=False)
    prefix = f"{settings.kafka.topic_prefix}."
    lines = [_line(topic, prefix, partitions=settings.kafka.partitions) for topic in topics_of(settings)]
    return TOPICS_HEAD + "\n".join(lines) + "\n"


def _line(topic: Topic, prefix: str, *, partitions: int) -> str:
    name = topic.name.removeprefix(prefix)
    row: dict[str, object] = {"operations": OPERATIONS.get(name.partition(".")[0], WRITE), "config": dict(topic.config)}
    if topic.partitions != partitions:
        row["partitions"] = topic.partitions
    return f"{name}: {json.dumps(row)}"


def generated() -> dict[str, str]:
    """Each generated file, by its path below helm/, as it should be."""
    return {"README.md": readme(), "values.schema.json": values_schema(), "files/topics.yaml": topics()}


def main() -> None:
    """Write the files."""
    for path, text in generated().items():
        (CHART / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
