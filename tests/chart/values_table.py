"""The table of all values, from values.yaml: a row for each key that has a comment beginning with `# --`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

MARK = "# -- "


class Row(NamedTuple):
    """A key with its dots, its default as YAML in one line (empty where rows below have it), and what it is for."""

    key: str
    default: str
    description: str


def rows(file: Path) -> list[Row]:
    """The rows in the order of the file."""
    text = file.read_text(encoding="utf-8")
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(node, yaml.MappingNode)
    return list(_rows(node, yaml.safe_load(text), text.splitlines(), ""))


def bare_keys(file: Path) -> list[str]:
    """Keys that have no comment, neither they nor what they are part of: the table would not tell of them."""
    told = {row.key for row in rows(file)}
    leaves = _leaves(yaml.safe_load(file.read_text(encoding="utf-8")), "")
    return [leaf for leaf in leaves if not any(leaf == key or leaf.startswith(f"{key}.") for key in told)]


def markdown(table: list[Row]) -> str:
    """The table for the README."""
    lines = ["| key | default | what it is for |", "|---|---|---|"]
    for row in table:
        default = f"`{row.default}`" if row.default else ""
        cells = (f"`{row.key}`", default, row.description)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def _rows(node: yaml.MappingNode, values: dict[str, Any], lines: list[str], above: str) -> Iterator[Row]:
    for key, child in node.value:
        path = f"{above}{key.value}"
        below = list(_rows(child, values[key.value], lines, f"{path}.")) if _has_lines(child) else []
        if description := _comment(lines, key.start_mark.line):
            yield Row(path, "" if below else json.dumps(values[key.value], ensure_ascii=False), description)
        yield from below


def _has_lines(node: yaml.Node) -> bool:
    return isinstance(node, yaml.MappingNode) and not node.flow_style and bool(node.value)


def _comment(lines: list[str], line: int) -> str:
    """The comment directly above a line, when it begins with the mark."""
    found: list[str] = []
    while line > 0 and lines[line - 1].lstrip().startswith("#"):
        line -= 1
        found.insert(0, lines[line].strip())
        if found[0].startswith(MARK):
            return " ".join([found[0].removeprefix(MARK), *(text.removeprefix("# ") for text in found[1:])])
    return ""


def _leaves(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else str(key))
    else:
        yield path
