"""From file, environment and options to `Settings`, with every problem at once; only here the environment is read."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import Any, TypeVar

from connector.errors import ConfigurationError
from connector.settings.document import MOST_CHARACTERS, read_document
from connector.settings.environment import COMPANIONS, CONFIG, apply_environment, names_a_file, variable_for
from connector.settings.lists import LIST, schema_findings
from connector.settings.model import Settings
from connector.settings.problems import examine
from connector.settings.section import Finding, Path, Section, asked
from connector.settings.shape import Shape, root, shape_at
from connector.settings.tree import Node, Origin, Problem, nearest, plain, put

DEFAULT_FILE = FilePath("connector.yaml")

_RENEWED = COMPANIONS - {"account_sid"}
_NO_CONNECTION = (
    "no Twilio account is configured: set TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN, "
    "or name a file that has connections with -c FILE or CONNECTOR_CONFIG"
)
_MOST_TOLD = 100
_ORDER = {"file": 0, "environment": 1, "option": 2, "default": 3}


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings with what they were made of. `notes` are sentences on what was ignored on purpose."""

    settings: Settings
    file: FilePath | None
    notes: tuple[str, ...]
    tree: Node = field(repr=False)
    sources: dict[str, Any] = field(repr=False)

    def origin(self, path: Path) -> Origin:
        """Where the value of a key comes from."""
        node, depth = nearest(self.tree, path)
        is_inside = depth < len(path) and isinstance(node.content, dict | list)
        return Origin("default") if is_inside else node.origin


def load(
    path: FilePath | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    need_connections: bool = True,
) -> Settings:
    """The settings. See `load_with_origins`."""
    return load_with_origins(path, overrides=overrides, environ=environ, need_connections=need_connections).settings


def load_with_origins(
    path: FilePath | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    need_connections: bool = True,
) -> Loaded:
    """Settings by precedence: overrides > environment > `_FILE` > YAML > default.

    Without `path` the file is what CONNECTOR_CONFIG names, else `./connector.yaml` if there is one. `overrides` are
    options of the command line by dotted key (`{"kafka.topic_prefix": "twilio"}`), None for those not given.
    Commands that only need Kafka pass `need_connections=False`. Raises ConfigurationError with all problems.
    """
    sources = {"path": path, "overrides": overrides, "environ": environ, "need_connections": need_connections}
    environ = os.environ if environ is None else environ
    file, named_by = _file(path, environ)
    tree, problems = _read(file, named_by, environ)
    tree, more, notes = apply_environment(tree, environ)
    tree = _with_overrides(tree, overrides or {})
    problems += more
    if not any(problem.path == () for problem in problems):
        settings, found = examine(plain(tree))
        told = {finding.path[-1] for finding in found if finding.path[:2] == ("kafka", "tls")}
        found += asked(
            _no_connection(settings, need_connections=need_connections),
            *(_unreadable_file(settings, key) for key in ("ca_file", "cert_file", "key_file") if key not in told),
            *(_unusable_schema(settings, position) for position in range(len(settings.__dict__.get("watches", ())))),
        )
        problems += [Problem(_place(tree, finding.path), finding.path, finding.sentence) for finding in found]
    if problems:
        sentences = list(dict.fromkeys(str(problem) for problem in sorted(problems, key=_by_place)))
        more_of_them = [f"and {len(sentences) - _MOST_TOLD:,} more"] if len(sentences) > _MOST_TOLD else []
        raise ConfigurationError([*sentences[:_MOST_TOLD], *more_of_them])
    return Loaded(settings, file, tuple(notes), tree, sources)


def reread_secrets(loaded: Loaded) -> Loaded:
    """The same settings with the secrets that file, environment and mounted files hold now (SIGHUP).

    User names and API keys go with their secrets; nothing else changes. Raises ConfigurationError when what is
    there now is not valid: keep what you have.
    """
    now = load_with_origins(**loaded.sources)
    return replace(loaded, settings=_renewed(loaded.settings, now.settings, root()))


def secret_files(loaded: Loaded) -> tuple[FilePath, ...]:
    """The files that secrets are read from: those that `_FILE` variables name, and Kafka's certificates."""
    environ = os.environ if loaded.sources["environ"] is None else loaded.sources["environ"]
    named = [FilePath(text) for name, text in sorted(environ.items()) if text and names_a_file(name)]
    tls = loaded.settings.kafka.tls
    certificates = [getattr(tls, key, None) for key in ("ca_file", "cert_file", "key_file")]
    return tuple(dict.fromkeys([*named, *(file for file in certificates if file is not None)]))


S = TypeVar("S", bound=Section)


def _renewed(old: S, new: S, shape: Shape) -> S:
    changed = {}
    for key, child in shape.children.items():
        before, after = getattr(old, child.attribute), getattr(new, child.attribute)
        if child.holds_secrets or key in _RENEWED:
            changed[child.attribute] = after
        elif child.kind == "section" and before is not None and after is not None:
            changed[child.attribute] = _renewed(before, after, child)
        elif child.kind == "mapping" and child.item and child.item.kind == "section":
            changed[child.attribute] = {
                name: _renewed(item, after[name], child.item) if name in after else item
                for name, item in before.items()
            }
    return old.model_copy(update=changed)


def _file(path: FilePath | None, environ: Mapping[str, str]) -> tuple[FilePath | None, Origin]:
    """The file, and what named it."""
    if path is not None:
        return path, Origin("file", str(path))
    if environ.get(CONFIG):
        return FilePath(environ[CONFIG]), Origin("environment", CONFIG)
    return (DEFAULT_FILE if DEFAULT_FILE.exists() else None), Origin("file", str(DEFAULT_FILE))


def _read(file: FilePath | None, named_by: Origin, environ: Mapping[str, str]) -> tuple[Node, list[Problem]]:
    if file is None:
        return Node({}, Origin("default")), []
    try:
        with file.open(encoding="utf-8") as opened:
            # One more than a document may have: a device or a pipe may have no end.
            return read_document(opened.read(MOST_CHARACTERS + 1), place=str(file), environ=environ)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        subject = "" if named_by.kind == "file" else f"{file} "
        sentence = f"{subject}cannot be read ({reason}): name a readable YAML file with -c or {CONFIG}"
        return Node({}, named_by), [Problem(named_by, (), sentence)]


def _with_overrides(tree: Node, overrides: Mapping[str, Any]) -> Node:
    for key, value in overrides.items():
        if value is not None:
            tree = put(tree, _path(key), _node(value, Origin("option", "command line")))
    return tree


def _path(key: str) -> Path:
    path: Path = ()
    for segment in key.split("."):
        above = shape_at(path)
        path = (*path, int(segment) if above and above.kind == "sequence" else segment)
    return path


def _node(value: Any, origin: Origin) -> Node:
    match value:
        case dict():
            return Node({key: _node(item, origin) for key, item in value.items()}, origin)
        case list() | tuple():
            return Node([_node(item, origin) for item in value], origin)
        case FilePath():
            return Node(str(value), origin)
        case _:
            return Node(value, origin)


def _no_connection(settings: Settings, *, need_connections: bool) -> Iterator[Finding]:
    if need_connections and not settings.connections:
        yield Finding(("connections",), _NO_CONNECTION)


def _unreadable_file(settings: Settings, key: str) -> Iterator[Finding]:
    file = getattr(settings.kafka.tls, key, None)
    if file is not None and not os.access(file, os.R_OK):
        sentence = f"{str(file)!r} is not a file that can be read: correct the name or its rights"
        yield Finding(("kafka", "tls", key), sentence)


def _unusable_schema(settings: Settings, position: int) -> Iterator[Finding]:
    watch = settings.watches[position]
    if watch.resource == LIST:
        for path, sentence in schema_findings(watch.schema_file):
            yield Finding(("watches", position, *path), sentence)


def _place(tree: Node, path: Path) -> Origin:
    """Where to look: the line of the key or of the section that misses it, the variable that sets it, or would."""
    node, depth = nearest(tree, path)
    is_missing = depth < len(path) and isinstance(node.content, dict | list)
    if is_missing and node.origin.kind != "file":
        return Origin("environment", variable_for(path))
    return node.origin


def _by_place(problem: Problem) -> tuple[int, int, str]:
    origin = problem.origin
    return _ORDER[origin.kind], origin.line, "" if origin.line else origin.place
