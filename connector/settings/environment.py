"""The environment as settings: `CONNECTOR_KAFKA__BOOTSTRAP_SERVERS`, `X_FILE` for secrets, and well-known aliases."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath

from connector.settings.document import read_value
from connector.settings.section import Path
from connector.settings.shape import Shape, leaves, root, shape_at
from connector.settings.tree import UNREADABLE, Node, Origin, Problem, children, nearest, put

PREFIX = "CONNECTOR_"
CONFIG = "CONNECTOR_CONFIG"
_FILE = "_FILE"
_LONGEST_FILE = 1024 * 1024

ALIASES: dict[str, Path] = {
    "TWILIO_ACCOUNT_SID": ("connections", "default", "account_sid"),
    "TWILIO_AUTH_TOKEN": ("connections", "default", "auth_token"),
    "TWILIO_API_KEY": ("connections", "default", "api_key"),
    "TWILIO_API_SECRET": ("connections", "default", "api_secret"),
    "TWILIO_EDGE": ("connections", "default", "edge"),
    "TWILIO_REGION": ("connections", "default", "region"),
    "KAFKA_BOOTSTRAP_SERVERS": ("kafka", "bootstrap_servers"),
}
COMPANIONS = frozenset({"account_sid", "api_key", "username"})
"""Names that travel with a secret: read from files like it, renewed together with it."""

_EMPTY_COUNTS = frozenset({("callbacks", "connection_overrides")})
_KUBERNETES = re.compile(r".*_(?:SERVICE_HOST|SERVICE_PORT(?:_.*)?|PORT(?:_[0-9]+_(?:TCP|UDP)(?:_.*)?)?)$")


@dataclass(frozen=True, slots=True)
class _Setting:
    """What a variable means: a key, and whether the variable holds the value or the name of a file with it."""

    variable: str
    path: Path
    shape: Shape
    from_file: bool = False


def variable_for(path: Path) -> str:
    """The variable that sets a key or begins a section: an alias where there is one, else a CONNECTOR_ name."""
    return next((name for name, aliased in ALIASES.items() if aliased[: len(path)] == path), _variable(path))


def names_a_file(variable: str) -> bool:
    """Whether the variable holds the name of a file with the value of another one."""
    return variable.endswith(_FILE) and (variable.startswith(PREFIX) or variable.removesuffix(_FILE) in ALIASES)


def apply_environment(tree: Node, environ: Mapping[str, str]) -> tuple[Node, list[Problem], list[str]]:
    """The tree with the environment over it, what is wrong in the environment, and notes on what is ignored.

    An empty variable counts as not set, since that is how compose files and charts pass on what is missing.
    """
    problems: list[Problem] = []
    given = {name: text for name, text in environ.items() if text or _path_of(name) in _EMPTY_COUNTS}
    for name in sorted((name for name in given if name.startswith(PREFIX) and name != CONFIG), key=_order):
        setting = _setting(name, tree)
        if setting is None:
            problems.append(Problem(Origin("environment", name), _path_of(name), _unknown(name, tree)))
        else:
            tree, found = _put(tree, setting, given[name])
            problems += found
    aliases = [setting for setting in _aliases() if setting.variable in given]
    fitting, notes = _fitting(aliases, tree)
    for setting in fitting:
        if not _is_set(tree, setting.path):
            tree, found = _put(tree, setting, given[setting.variable])
            problems += found
    return tree, problems, notes


def _order(name: str) -> tuple[bool, int, list[str]]:
    """Files first, so that values win over them; sections before their keys; positions by number."""
    segments = name.split("__")
    return not name.endswith(_FILE), len(segments), [part.zfill(6) if part.isdigit() else part for part in segments]


def _aliases() -> Iterator[_Setting]:
    """Aliases by precedence."""
    for from_file in (False, True):
        for name, path in ALIASES.items():
            shape = shape_at(path)
            if shape and (not from_file or _may_be_a_file(path, shape)):
                yield _Setting(name + _FILE if from_file else name, path, shape, from_file)


def _fitting(aliases: list[_Setting], tree: Node) -> tuple[list[_Setting], list[str]]:
    """Without the aliases of connection `default` where connections are configured and none is called so.

    Many have TWILIO_ACCOUNT_SID in their environment for other tools: it shall not add an account to those of a file.
    """
    connections = [name for name, _ in children(tree.child("connections") or Node({}, tree.origin))]
    if not connections or "default" in connections:
        return aliases, []
    ignored = [setting for setting in aliases if setting.path[0] == "connections"]
    names = ", ".join(str(name) for name in connections)
    notes = [f"{setting.variable} is ignored: no connection is called default ({names})" for setting in ignored]
    return [setting for setting in aliases if setting not in ignored], notes


def _is_set(tree: Node, path: Path) -> bool:
    node, depth = nearest(tree, path)
    return depth == len(path) and node.origin.kind == "environment"


def _put(tree: Node, setting: _Setting, text: str) -> tuple[Node, list[Problem]]:
    origin = Origin("environment", setting.variable)
    try:
        value = read_secret(text) if setting.from_file else text
        node = Node(value, origin) if setting.shape.is_leaf else read_value(value, origin)
        return put(tree, setting.path, node), []
    except LookupError as error:
        sentence = f"is not a position in a list of {error.args[0]}: count from 0 without a gap"
        return tree, [Problem(origin, setting.path, sentence)]
    except ValueError as error:
        sentence = f"{error}: write the value as JSON" if not setting.from_file else str(error)
        return put(tree, setting.path, Node(UNREADABLE, origin)), [Problem(origin, setting.path, sentence)]


def read_secret(name: str) -> str:
    """The content of a file without the new line at its end. Raises ValueError."""
    try:
        with FilePath(name).open(encoding="utf-8") as file:
            text = file.read(_LONGEST_FILE + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ValueError(f"the file {name} cannot be read ({reason}): name a readable file with the secret") from error
    if len(text) > _LONGEST_FILE:
        raise ValueError(f"the file {name} has more than {_LONGEST_FILE:,} characters: name the one with the secret")
    return text.rstrip("\r\n")


def _setting(name: str, tree: Node) -> _Setting | None:
    if found := _find(name, tree):
        return _Setting(name, *found)
    found = _find(name.removesuffix(_FILE), tree) if name.endswith(_FILE) else None
    return _Setting(name, *found, from_file=True) if found and _may_be_a_file(*found) else None


def _may_be_a_file(path: Path, shape: Shape) -> bool:
    return shape.holds_secrets or path[-1] in COMPANIONS


def _find(name: str, tree: Node) -> tuple[Path, Shape] | None:
    path: Path = ()
    shape: Shape | None = root()
    for segment in name.removeprefix(PREFIX).split("__"):
        if not segment or shape is None or shape.is_leaf:
            return None
        key = _key(segment, shape, nearest(tree, path), path)
        if key is None:
            return None
        path, shape = (*path, key), shape.child(key)
    return (path, shape) if shape else None


def _key(segment: str, shape: Shape, at: tuple[Node, int], path: Path) -> str | int | None:
    """The key that a part of a variable's name means: names in the tree are found in any case, with _ for -."""
    if shape.kind == "sequence":
        return int(segment) if re.fullmatch("[0-9]{1,5}", segment) else None
    if shape.kind == "section":
        return segment.lower()
    known = [str(key) for key, _ in children(at[0])] if at[1] == len(path) else []
    like = [key for key in (*known, "default") if _variable((key,)) == PREFIX + segment.upper()]
    return like[0] if like else segment.lower().replace("_", "-") if path == ("connections",) else segment


def _variable(path: Path) -> str:
    return PREFIX + "__".join(str(segment).upper().replace("-", "_") for segment in path)


def _path_of(name: str) -> Path:
    """The path that an unknown variable would mean."""
    return tuple(name.removeprefix(PREFIX).lower().split("__"))


def _unknown(name: str, tree: Node) -> str:
    if _KUBERNETES.fullmatch(name):
        return "comes from Kubernetes for a Service of that name: set enableServiceLinks: false in the pod"
    known = {variable.removeprefix(PREFIX) for variable in _known(tree)}
    near = difflib.get_close_matches(name.upper().removeprefix(PREFIX), known, n=1, cutoff=0.6)
    return f"is not a setting: did you mean {PREFIX}{near[0]}?" if near else "is not a setting: unset the variable"


def _known(tree: Node) -> Iterable[str]:
    """Names of all variables, with those connections that there are."""
    names = [str(name) for name, _ in children(tree.child("connections") or Node({}, tree.origin))]
    yield CONFIG
    for path, shape in leaves():
        owners = ("default", *names) if path[0] == "connections" else ("",)
        for owner in owners:
            variable = _variable((path[0], owner, *path[2:]) if owner else path)
            yield variable
            if _may_be_a_file(path, shape):
                yield variable + _FILE
