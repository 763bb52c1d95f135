"""Validation that finds everything: what is wrong is put aside and the rest is looked at again until all is well."""

from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from connector.settings.model import Settings
from connector.settings.section import Finding, Path
from connector.settings.sentences import findings

_ROUNDS = 30

_ACCOUNT = "AC" + "0" * 32
_CREDENTIALS = {
    "account_sid": _ACCOUNT,
    "auth_token": "set aside",
    "api_key": "SK" + "0" * 32,
    "api_secret": "set aside",
    "token": "set aside",
}
_CONNECTION = {key: _CREDENTIALS[key] for key in ("account_sid", "auth_token")}
_WATCH = {"resource": "transcriptions"}


def examine(raw: dict[str, Any], *, hidden: Iterable[Path] = ()) -> tuple[Settings | None, list[Finding]]:
    """The settings if they are valid, and otherwise everything that is wrong with them.

    `raw` is changed. Nothing is said about `hidden` paths, whose problems are known already, nor about what is only
    wrong because something else was put aside.
    """
    aside = set(hidden)
    found: list[Finding] = []
    for _ in range(_ROUNDS):
        try:
            settings = Settings.model_validate(raw)
        except ValidationError as error:
            wrong = list(findings(error))
            found += [finding for finding in wrong if not _touched(finding, aside)]
            if any(details["loc"] == () for details in error.errors()):
                break
            aside |= {finding.path for finding in wrong} | _put_all_aside(raw, wrong)
        else:
            return settings, found
    return None, found


def _touched(finding: Finding, aside: set[Path]) -> bool:
    paths = (finding.path, *finding.because)
    return any(path[: len(other)] == other or other[: len(path)] == path for path in paths for other in aside)


def _put_all_aside(raw: dict[str, Any], wrong: list[Finding]) -> set[Path]:
    gone: set[Path] = set()
    for finding in wrong:
        if not any(finding.path[: len(path)] == path for path in gone):
            gone.add(_put_aside(raw, finding.path))
    return gone


def _put_aside(raw: dict[str, Any], path: Path) -> Path:
    """Take out the value at the path, or the deepest one on the way to it; the path of what was taken out.

    Credentials, connections and watches are replaced rather than removed, so that what refers to them stays right.
    """
    at = _existing(raw, path)
    if path[-1] in _CREDENTIALS and len(at) >= len(path) - 1 and isinstance(section := _get(raw, path[:-1]), dict):
        section[path[-1]] = _CREDENTIALS[path[-1]]
        return path
    while at:
        parent, key = _get(raw, at[:-1]), at[-1]
        if isinstance(parent, list) and parent[int(key)] != (stand_in := {**_WATCH, "name": f"aside-{key}"}):
            parent[int(key)] = stand_in
            return at
        if at[:-1] == ("connections",) and parent[key] != _CONNECTION:
            parent[key] = dict(_CONNECTION)
            return at
        if isinstance(parent, dict):
            del parent[key]
            return at
        at = at[:-1]
    return path


def _existing(raw: Any, path: Path) -> Path:
    """As much of the path as there is."""
    for depth, segment in enumerate(path):
        keys = range(len(raw)) if isinstance(raw, list) else raw if isinstance(raw, dict) else ()
        if segment not in keys:
            return path[:depth]
        raw = raw[segment]
    return path


def _get(raw: Any, path: Path) -> Any:
    for segment in path:
        raw = raw.get(segment) if isinstance(raw, dict) else raw[int(segment)]
    return raw
