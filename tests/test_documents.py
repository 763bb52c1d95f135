"""The documents keep their word: snippets run, links lead somewhere, generated parts are current."""

import ast
import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from connector.errors import ConfigurationError
from connector.settings import load
from connector.simulator import ACCOUNT_SID, AUTH_TOKEN
from tests.documents import generate, links
from tests.documents.session import Session, Shell
from tests.documents.snippets import ROOT, Snippet, cut, documents, snippets
from tests.documents.syntax import problems_in_go, problems_in_java

EXCUSES = ("not run", "not checked")
TEST = re.compile(r"\[`(?P<name>test_\w+)`\]\((?:\.\./)?(?P<file>tests/[\w/]+\.py)\)")
# A claim about security: a row of a table of threats, or a point of what is held.
CLAIM = re.compile(r"^\| \*\*[STRIDE]\*\* .+|^- \*\*[^*]+\.\*\*(?:.+\n)+?(?=^- |^\n)", re.MULTILINE)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """What a newcomer has after `make dev ARGS=--no-demo`."""
    running = Session.start(tmp_path_factory.mktemp("session"))
    yield running
    assert running.stop() == 0, running.log.read_text()[-2000:]


@pytest.mark.timeout(600)
def test_every_shell_and_python_snippet_runs_in_the_order_of_the_documents(session: Session, tmp_path: Path) -> None:
    problems: list[str | None] = []
    for number, document in enumerate(documents()):
        folder = tmp_path / str(number)
        folder.mkdir()
        shell = Shell(session, folder)
        found = cut(document, (ROOT / document).read_text(encoding="utf-8"))
        run = (item for item in found if item.language in ("sh", "python") and "not run" not in item.marks)
        problems += [shell.run(snippet) for snippet in run]
    assert "\n".join(filter(None, problems)) == ""


def by_place(found: Iterator[Snippet]) -> list[Any]:
    return [pytest.param(snippet, id=snippet.place) for snippet in found]


@pytest.mark.parametrize("snippet", by_place(snippets("yaml")))
def test_every_yaml_snippet_is_a_valid_configuration_or_valid_values_of_the_chart(
    snippet: Snippet, tmp_path: Path
) -> None:
    if "helm values" in snippet.marks:
        schema = json.loads((ROOT / "helm" / "values.schema.json").read_text())
        defaults = yaml.safe_load((ROOT / "helm" / "values.yaml").read_text())
        jsonschema_rs.validate(schema, _merged(defaults, yaml.safe_load(snippet.text)))
        return
    if "not checked" in snippet.marks:
        assert snippet.marks["not checked"], f"{snippet.place} says no reason"
        assert list(yaml.safe_load_all(snippet.text))
        return
    file = tmp_path / "connector.yaml"
    file.write_text(snippet.text)
    names = re.findall(r"\$\{(\w+)\}", snippet.text)
    sids = {name: f"AC{number:032x}" for number, name in enumerate(names, 16) if name.endswith("_SID")}
    ours = {"TWILIO_ACCOUNT_SID": ACCOUNT_SID, "TWILIO_AUTH_TOKEN": AUTH_TOKEN}
    try:
        load(file, environ={**dict.fromkeys(names, "x"), **sids, **ours})
    except ConfigurationError as error:
        pytest.fail(f"{snippet.place}: {error}")


def _merged(values: Any, over: Any) -> Any:
    """As Helm does: mappings are merged, everything else is replaced."""
    if not isinstance(values, dict) or not isinstance(over, dict):
        return over
    return {**values, **{name: _merged(values.get(name), item) for name, item in over.items()}}


@pytest.mark.parametrize("snippet", by_place(snippets("json")))
def test_every_json_snippet_is_json_and_fits_the_schema_that_it_names(snippet: Snippet) -> None:
    values = _values(snippet.text)
    assert values
    if path := snippet.marks.get("schema"):
        schema = json.loads((ROOT / "schemas" / f"{path}.json").read_text())
        for value in values:
            jsonschema_rs.validate(schema, value)


def _values(text: str) -> list[Any]:
    """One value, or one on each line."""
    try:
        return [json.loads(text)]
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.splitlines()]


def test_java_snippets_are_java(tmp_path: Path) -> None:
    assert problems_in_java(list(snippets("java")), tmp_path) == []


def test_go_snippets_are_go(tmp_path: Path) -> None:
    assert problems_in_go(list(snippets("go")), tmp_path) == []


def test_a_mistake_in_java_and_go_is_found(tmp_path: Path) -> None:
    wrong = {language: Snippet("x.md", 1, language, "class A { void b( { }", {}) for language in ("java", "go")}
    assert problems_in_java([wrong["java"]], tmp_path)
    assert problems_in_go([wrong["go"]], tmp_path)


def test_what_is_not_run_or_not_checked_says_why() -> None:
    everything = list(snippets("sh", "python", "yaml", "json", "java", "go"))
    reasons = [(found.place, found.marks[name]) for found in everything for name in EXCUSES if name in found.marks]
    assert [place for place, reason in reasons if not reason] == []
    run = [found for found in everything if found.language in ("sh", "python")]
    left_out = [found for found in run if "not run" in found.marks]
    assert len(left_out) < len(run) / 2, [found.place for found in left_out]


@pytest.mark.parametrize("document", [*documents(), "SECURITY.md", "CONTRIBUTING.md", "schemas/README.md"])
def test_links_inside_lead_somewhere(document: str) -> None:
    assert list(links.broken(document)) == []


def test_every_document_is_reached_from_the_readme() -> None:
    seen, waiting = set[Path](), [ROOT / "README.md"]
    while waiting:
        file = waiting.pop()
        seen.add(file)
        for found in links.LINK.finditer(file.read_text(encoding="utf-8")):
            target = (file.parent / (found["target"] or found["other"]).partition("#")[0]).resolve()
            if target.suffix == ".md" and target.exists() and target not in seen:
                waiting.append(target)
    assert [name for name in documents() if ROOT / name not in seen] == []


@pytest.mark.parametrize("document", generate.FILES)
def test_generated_parts_are_current(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    assert generate.current(text) == text, "run `make docs` and commit what it wrote"


def test_every_row_about_things_that_go_wrong_names_a_test() -> None:
    text = (ROOT / "docs" / "when-things-go-wrong.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith(("| what", "|--"))]
    assert len(rows) > 30
    assert [row for row in rows if not TEST.search(row)] == []


@pytest.mark.parametrize(("document", "least"), [("SECURITY.md", 6), ("docs/threat-model.md", 30)])
def test_every_claim_about_security_names_a_test(document: str, least: int) -> None:
    claims = [found[0] for found in CLAIM.finditer((ROOT / document).read_text(encoding="utf-8"))]
    assert len(claims) >= least
    assert [claim for claim in claims if not TEST.search(claim)] == []


@pytest.mark.parametrize("document", [*documents(), "SECURITY.md"])
def test_the_tests_that_documents_name_exist(document: str) -> None:
    found = TEST.finditer((ROOT / document).read_text(encoding="utf-8"))
    named = sorted({(match["file"], match["name"]) for match in found})
    assert [f"{file}::{name}" for file, name in named if name not in _tests(ROOT / file)] == []


@functools.cache
def _tests(file: Path) -> set[str]:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, functions)}


def test_an_anchor_is_made_as_github_makes_it(tmp_path: Path) -> None:
    file = tmp_path / "x.md"
    file.write_text("# `twilio-kafka` and *others*: 100 %\n## A & B\n## Same\n## Same\n```sh\n# no heading\n```\n")
    assert links.anchors(file) == {"twilio-kafka-and-others-100-", "a--b", "same", "same-1"}


def test_marks_belong_to_the_fence_right_below_them() -> None:
    first = "<!-- not run: a line between -->\n\n```sh\na\n```\n"
    second = "<!-- exit: 1 -->\n<!-- not run: x -->\n```sh\nb\n```\n"
    third = "  ```yaml\n  c:\n    d\n  ```\n"
    found = list(cut("x.md", first + second + third))
    assert [dict(snippet.marks) for snippet in found] == [{}, {"exit": "1", "not run": "x"}, {}]
    assert [snippet.language for snippet in found] == ["sh", "sh", "yaml"]
    assert [snippet.text for snippet in found] == ["a\n", "b\n", "c:\n  d\n"]
