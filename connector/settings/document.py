"""The YAML file as a tree: every scalar is its own text, whatever YAML would make of it, with the line of its key.

So `+15551234567` keeps its plus, `no` stays a word, and the file reads like the environment: the type of a key, not
its spelling, says how its text is understood.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import yaml

from connector.settings.section import Path
from connector.settings.tree import UNREADABLE, Node, Origin, Problem

_STANDARD = "tag:yaml.org,2002:"
_MERGE = f"{_STANDARD}merge"
_NULL = f"{_STANDARD}null"
_SCALARS = frozenset(
    _STANDARD + name for name in ("str", "int", "float", "bool", "null", "timestamp", "value", "merge")
)
_VARIABLE = re.compile(r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}\n]*))?\}")
_MARK = re.compile("\ue000([0-9]{1,9})\ue001")
_UNCLOSED = "holds a ${ that is not ${VAR} or ${VAR:-default}: close it, or write $${ for the two characters"
_DEEPEST = 20
MOST_CHARACTERS = 1024 * 1024
_MOST_VALUES = 50_000
_TOO_DEEP = "nests too deep, perhaps in itself: write it out"
_TOO_LARGE = f"has more than {MOST_CHARACTERS:,} characters: this is not a configuration, name another one"
_TOO_MANY = f"holds more than {_MOST_VALUES:,} values once its aliases (*) are written out: use fewer"


def read_document(text: str, *, place: str, environ: Mapping[str, str]) -> tuple[Node, list[Problem]]:
    """The tree of a YAML document with `${VAR}` and `${VAR:-default}` replaced, and what is wrong with it.

    `$${` stands for `${`. As in a shell, a default also replaces an empty variable. A variable never changes how the
    document is read: YAML sees marks, also where its braces would mean something (`{password: ${VAR}}`).
    """
    start = Origin("file", place, 1)
    reader = _Reader(place, environ, found=list(_VARIABLE.finditer(text[:MOST_CHARACTERS])))
    numbers = iter(range(len(reader.found)))
    try:
        _check_length(text, start)
        tree = reader.tree(_VARIABLE.sub(lambda _: f"\ue000{next(numbers)}\ue001", text), start)
    except yaml.YAMLError as error:
        return Node({}, start), [_syntax(error, text, place)]
    except _OutOfBoundsError as error:
        return Node({}, start), [error.problem]
    if tree.content is None:
        return Node({}, start), reader.problems
    if isinstance(tree.content, dict):
        return tree, reader.problems
    problem = Problem(start, (), "the file is not a mapping: begin with a key such as kafka: or connections:")
    return Node({}, start), [*reader.problems, problem]


def read_value(text: str, origin: Origin) -> Node:
    """The tree of a value written as JSON or YAML in a variable; all of it has one origin. Raises ValueError."""
    reader = _Reader(origin.place, {}, origin)
    try:
        _check_length(text, origin)
        tree = reader.tree(text, origin)
    except yaml.YAMLError as error:
        raise ValueError("cannot be read") from error
    except _OutOfBoundsError as error:
        raise ValueError(error.problem.sentence) from error
    if reader.problems:
        raise ValueError(reader.problems[0].sentence)
    return tree


class _OutOfBoundsError(Exception):
    """A document that is too long, nests too deep, or whose aliases multiply it."""

    def __init__(self, origin: Origin, sentence: str, path: Path = ()) -> None:
        super().__init__(sentence)
        self.problem = Problem(origin, path, sentence)


def _check_length(text: str, origin: Origin) -> None:
    if len(text) > MOST_CHARACTERS:
        raise _OutOfBoundsError(origin, _TOO_LARGE)


def _syntax(error: yaml.YAMLError, text: str, place: str) -> Problem:
    """A sentence without any content of the file, since that may be a secret."""
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        what = re.sub(r"'(?!<)[^']{2,}'|\"[^\"]{2,}\"", "…", error.problem or "it ends too early")
        return Problem(
            Origin("file", place, line), (), f"not YAML ({what}): correct it; put text with : # * & in quotes"
        )
    line = text.count("\n", 0, getattr(error, "position", 0)) + 1
    return Problem(Origin("file", place, line), (), "not YAML (a character that may not occur): remove it")


@dataclass(slots=True)
class _Reader:
    """Turns composed nodes into our tree and gathers problems.

    `found` are the variables that marks stand for, `fixed` is the origin of text that has no lines.
    """

    place: str
    environ: Mapping[str, str]
    fixed: Origin | None = None
    found: list[re.Match[str]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    left: int = _MOST_VALUES

    def tree(self, text: str, start: Origin) -> Node:
        """The tree of a text. Raises YAMLError or _OutOfBoundsError."""
        self._check_depth(text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        return Node(None, start) if node is None else self.node((), node, start)

    def _check_depth(self, text: str) -> None:
        """A composer calls itself: nothing that nests deep is given to it."""
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > _DEEPEST:
                    raise _OutOfBoundsError(self._at(event), _TOO_DEEP)
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1

    def node(self, path: Path, node: yaml.Node, origin: Origin) -> Node:
        self.left -= 1
        if self.left < 0:
            raise _OutOfBoundsError(origin, _TOO_MANY, path)
        if len(path) > _DEEPEST:
            return self._unreadable(path, origin, _TOO_DEEP)
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_STANDARD}map":
            return Node(self._mapping(path, node), origin)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_STANDARD}seq":
            items = enumerate(node.value)
            return Node([self.node((*path, at), item, self._at(item)) for at, item in items], origin)
        if not isinstance(node, yaml.ScalarNode) or node.tag not in _SCALARS:
            return self._unreadable(path, origin, "has a tag (!), which is not understood: remove it")
        return self._scalar(path, node, origin)

    def _mapping(self, path: Path, node: yaml.MappingNode) -> dict[str | int, Node]:
        content: dict[str | int, Node] = {}
        lines: dict[str, int] = {}
        for key, value in node.value:
            name = self._key(key.value) if isinstance(key, yaml.ScalarNode) else None
            if name is None:
                self.problems.append(Problem(self._at(key), path, "a key is not a word: write key: value"))
            elif key.tag == _MERGE:
                if not _takes_over(value):
                    self.problems.append(
                        Problem(self._at(key), path, "<< takes over mappings: give *alias or [*a, *b]")
                    )
            elif name in lines:
                sentence = f"is given twice, first in line {lines[name]}: remove one of them"
                self.problems.append(Problem(self._at(key), (*path, name), sentence))
            else:
                lines[name] = key.start_mark.line + 1
                content[name] = self.node((*path, name), value, self._at(key))
        for merged in _merged(node):
            taken = self.node((*path, "<<"), merged, self._at(merged)).content
            content = {**(taken if isinstance(taken, dict) else {}), **content}
        return content

    def _scalar(self, path: Path, node: yaml.ScalarNode, origin: Origin) -> Node:
        text = node.value if self.fixed else self._replaced(path, node.value, origin)
        if text is None:
            return Node(UNREADABLE, origin)
        is_null = node.style is None and (node.tag == _NULL or (text == "" and node.value != ""))
        return Node(None if is_null else text, origin)

    def _replaced(self, path: Path, text: str, origin: Origin) -> str | None:
        """The text with the variables' values, None where there is a problem."""
        values = {mark: self._value(variable) for mark, variable in self._variables(text)}
        unset = [variable["name"] for mark, variable in self._variables(text) if values[mark] is None]
        problems = [_unset(name) for name in dict.fromkeys(unset)] + ([_UNCLOSED] if "${" in text else [])
        self.problems += [Problem(origin, path, sentence) for sentence in problems]
        return None if problems else _MARK.sub(lambda mark: values.get(mark[0]) or "", text)

    def _variables(self, text: str) -> list[tuple[str, re.Match[str]]]:
        return [(mark[0], self.found[int(mark[1])]) for mark in _MARK.finditer(text) if int(mark[1]) < len(self.found)]

    def _value(self, variable: re.Match[str]) -> str | None:
        if variable["name"] is None:
            return "${"
        value = self.environ.get(variable["name"])
        return value or (value if variable["default"] is None else variable["default"])

    def _key(self, text: str) -> str:
        """A key as it is written: variables are not replaced there."""
        written = {mark: variable[0] for mark, variable in self._variables(text)}
        return _MARK.sub(lambda mark: written.get(mark[0], mark[0]), text)

    def _unreadable(self, path: Path, origin: Origin, sentence: str) -> Node:
        self.problems.append(Problem(origin, path, sentence))
        return Node(UNREADABLE, origin)

    def _at(self, node: yaml.Node | yaml.Event) -> Origin:
        return self.fixed or Origin("file", self.place, node.start_mark.line + 1 if node.start_mark else 1)


def _takes_over(value: yaml.Node) -> bool:
    parts = value.value if isinstance(value, yaml.SequenceNode) else [value]
    return all(isinstance(part, yaml.MappingNode) for part in parts)


def _merged(node: yaml.MappingNode) -> Iterator[yaml.MappingNode]:
    """Mappings that `<<` takes over; of a key in several of them the first counts."""
    for key, value in node.value:
        if key.tag == _MERGE:
            parts = value.value if isinstance(value, yaml.SequenceNode) else [value]
            yield from (part for part in parts if isinstance(part, yaml.MappingNode))


def _unset(name: str) -> str:
    return f"the environment variable {name} is not set: set it, or give a default as in ${{{name}:-default}}"
