"""Effective settings, key by key with their origins; secrets are masked."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from connector.settings.lists import KEYS, LIST
from connector.settings.loading import Loaded
from connector.settings.section import Path
from connector.settings.shape import Shape, root
from connector.settings.tree import Origin, dotted
from connector.settings.watches import FILTERS

MASK = "********"

_FILTERS = frozenset(name for names in FILTERS.values() for name in names)
_UNFIT = {
    resource: _FILTERS.difference(names).union(() if resource == LIST else KEYS) for resource, names in FILTERS.items()
}


@dataclass(frozen=True, slots=True)
class Row:
    """One key: its value as JSON has it, secrets masked, and where that comes from."""

    key: str
    value: Any
    origin: Origin


def effective(loaded: Loaded) -> tuple[Row, ...]:
    """Every key that has a value or a default."""
    values = loaded.settings.model_dump(mode="json", by_alias=True)
    return tuple(Row(dotted(path), value, loaded.origin(path)) for path, value in _leaves(values, root(), ()))


def _leaves(value: Any, shape: Shape, path: Path) -> Iterator[tuple[Path, Any]]:
    if shape.is_leaf or not value:
        yield path, _masked(value, shape)
        return
    unfit = _UNFIT.get(value["resource"], frozenset()) if path[:-1] == ("watches",) else frozenset()
    for segment, item in value.items() if isinstance(value, dict) else enumerate(value):
        if (child := shape.child(segment)) and segment not in unfit:
            yield from _leaves(item, child, (*path, segment))


def _masked(value: Any, shape: Shape) -> Any:
    if not shape.holds_secrets or not value:
        return value
    return [MASK for _ in value] if isinstance(value, list) else MASK
