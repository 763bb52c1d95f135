"""The release machinery: workflows that GitHub understands, with the least rights, and actions that are pinned."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = [ROOT / ".github" / "ISSUE_TEMPLATE" / name for name in ("bug.yml", "feature.yml")]
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}|\./\.github/workflows/[\w-]+\.yml")


def read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return found


def jobs() -> list[Any]:
    found = ((file.stem, name, job) for file in WORKFLOWS for name, job in read(file)["jobs"].items())
    return [pytest.param(job, id=f"{stem}-{name}") for stem, name, job in found]


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("vendor.github-workflows", WORKFLOWS),
        ("vendor.dependabot", [ROOT / ".github" / "dependabot.yml"]),
        ("vendor.github-issue-forms", FORMS),
    ],
)
def test_github_understands_the_files(schema: str, files: list[Path]) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("job", jobs())
def test_every_action_is_pinned_and_every_job_ends(job: dict[str, Any]) -> None:
    used = [step["uses"] for step in job.get("steps", ()) if "uses" in step] + ([job["uses"]] if "uses" in job else [])
    assert [action for action in used if not PINNED.fullmatch(action)] == []
    assert "uses" in job or job["timeout-minutes"] <= 60


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_a_workflow_has_no_right_but_to_read_unless_a_job_says_so(file: Path) -> None:
    assert read(file)["permissions"] == {"contents": "read"}
    text = file.read_text(encoding="utf-8")
    assert "secrets." not in text, "publishing goes by identity, not by stored secrets"
    assert text.count("persist-credentials: false") == text.count("actions/checkout@")


def test_the_tests_run_on_every_python_that_is_promised_and_on_arm() -> None:
    matrix = read(ROOT / ".github" / "workflows" / "tests.yml")["jobs"]["tests"]["strategy"]["matrix"]
    promised = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert matrix["python"] == promised
    assert any("arm" in row["runner"] for row in matrix["include"])


def test_what_make_is_asked_for_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for file in WORKFLOWS:
        for target in re.findall(r"\bmake (\w+)", file.read_text(encoding="utf-8")):
            assert re.search(rf"(?m)^{target}:", makefile), target


def test_a_release_is_signed_and_says_what_it_is_made_of() -> None:
    release = read(ROOT / ".github" / "workflows" / "release.yml")["jobs"]
    build = next(step["with"] for step in release["image"]["steps"] if "build-push-action" in step.get("uses", ""))
    assert (build["sbom"], build["provenance"]) == (True, "mode=max")
    assert "linux/arm64" in build["platforms"]
    assert any("cosign sign" in step.get("run", "") for step in release["image"]["steps"])
    assert any("pypi-publish" in step.get("uses", "") for step in release["package"]["steps"])
    assert any("helm push" in step.get("run", "") for step in release["chart"]["steps"])
