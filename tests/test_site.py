"""The documents beyond what they run: a site whose links lead somewhere, lines that fit, whole upgrade notes."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from connector import __version__

ROOT = Path(__file__).parents[1]
LONGEST = 120
FENCE = re.compile(r"^\s*(```|~~~)")


@pytest.mark.timeout(180)
def test_the_site_builds_with_every_link_and_anchor(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="mkdocs-material is not installed (make site)")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "site" / "search" / "search_index.json").exists()


def too_long(text: str) -> list[str]:
    """Lines of prose that do not fit a screen: not those of tables, code and links alone."""
    found, fenced = [], False
    for number, line in enumerate(text.splitlines(), 1):
        if FENCE.match(line):
            fenced = not fenced
        elif (
            not fenced
            and len(line) > LONGEST
            and not line.lstrip().startswith(("|", "<", "#"))
            and " " in line[:LONGEST]
        ):
            found.append(f"{number}: {line[:60]}…")
    return found


@pytest.mark.parametrize("document", sorted(path.name for path in (ROOT / "docs").glob("*.md")))
def test_lines_fit_a_screen(document: str) -> None:
    assert too_long((ROOT / "docs" / document).read_text(encoding="utf-8")) == []


def test_every_version_of_the_changelog_has_its_upgrade_notes_and_no_other() -> None:
    versions = [
        re.findall(r"(?m)^## (\d+\.\d+\.\d+)", (ROOT / name).read_text(encoding="utf-8"))
        for name in ("CHANGELOG.md", "docs/upgrading.md")
    ]
    assert versions[0] == versions[1]
    assert versions[0][0] == __version__


def test_the_table_of_versions_says_what_is_declared_and_tested() -> None:
    table = (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8")
    promised = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert f"| Python | {', '.join(promised)} |" in table
    oldest = re.search(r"kubeVersion: \">=(\d+\.\d+)", (ROOT / "helm" / "Chart.yaml").read_text(encoding="utf-8"))
    assert oldest is not None
    assert f"| Kubernetes | {oldest[1]} and newer |" in table
