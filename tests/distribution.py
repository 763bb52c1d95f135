"""`python -m tests.distribution FOLDER`: build wheel and source distribution, install the wheel elsewhere, and run it.

The empty environment has nothing of the checkout; what the wheel depends on is installed from the exact versions of
constraints.txt, or lent by this environment where there is no time to install it again (`lent=True`).
"""

import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
NEEDED_OF_SOURCE = (
    "pyproject.toml",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "connector/__init__.py",
    "schemas/asyncapi.yaml",
)


def _run(*command: str | Path, folder: Path) -> str:
    """The output of a command. Raises CalledProcessError, with its output printed."""
    done = subprocess.run([str(part) for part in command], cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
        done.check_returncode()
    return done.stdout


def build(folder: Path) -> tuple[Path, Path]:
    """The wheel and the source distribution, freshly built into a folder."""
    for old in folder.glob("twilio_kafka_connector-*"):
        old.unlink()
    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, folder=ROOT)
    return next(folder.glob("*.whl")), next(folder.glob("*.tar.gz"))


def contents(distribution: Path) -> set[str]:
    """The names of the files in a wheel, or in a source distribution without its folder."""
    if distribution.suffix == ".whl":
        with zipfile.ZipFile(distribution) as archive:
            return set(archive.namelist())
    with tarfile.open(distribution) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def install(wheel: Path, folder: Path, *, lent: bool) -> Path:
    """An environment outside of the checkout with the wheel; returns its `twilio-kafka`."""
    venv.create(folder, with_pip=not lent, clear=True)
    python = folder / "bin" / "python"
    if lent:
        # Only what the wheel depends on: the checkout itself is on no path of the new environment.
        site = next((folder / "lib").glob("python*/site-packages"))
        (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
        pip: list[str | Path] = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
        _run(*pip, "install", "--quiet", "--no-deps", "--ignore-installed", wheel, folder=folder)
    else:
        pip = [python, "-m", "pip", "--disable-pip-version-check"]
        _run(*pip, "install", "--quiet", "--constraint", ROOT / "constraints.txt", wheel, folder=folder)
    return folder / "bin" / "twilio-kafka"


def check(program: Path, folder: Path) -> str:
    """Run the installed program outside of the checkout; what it says of its version."""
    version = _run(program, "version", folder=folder)
    where = _run(program.parent / "python", "-c", "import connector; print(connector.__file__)", folder=folder).strip()
    assert Path(where).is_relative_to(program.parents[1]), f"the installed package is not that of the wheel: {where}"
    _run(program, "schemas", "export", folder / "schemas", folder=folder)
    exported, published = (
        {str(file.relative_to(place)) for file in place.rglob("*.json")}
        for place in (folder / "schemas", ROOT / "schemas")
    )
    assert exported == published, exported ^ published
    return version


def main(folder: Path) -> None:
    """Build, look into, install, run."""
    wheel, source = build(folder)
    missing = {name for name in NEEDED_OF_SOURCE if name not in contents(source)}
    assert not missing, f"the source distribution lacks {missing}"
    elsewhere = folder / "environment"
    try:
        sys.stdout.write(check(install(wheel, elsewhere, lent=False), elsewhere))
    finally:
        shutil.rmtree(elsewhere, ignore_errors=True)
    sys.stdout.write(f"{wheel}\n{source}\n")


if __name__ == "__main__":
    target = Path(sys.argv[1]).resolve()
    target.mkdir(parents=True, exist_ok=True)
    main(target)
