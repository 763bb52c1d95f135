"""The catalog: every watch, callback and command, collected from one module per section of the specification.

Adding a watch, a callback or a command is adding a row, or a module with rows, to this folder; nothing else changes.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

from connector.resources.commands import Command, Operation
from connector.resources.rows import Callback, Watch

MODULES: tuple[ModuleType, ...] = tuple(import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__))


def commands(modules: Iterable[ModuleType]) -> dict[str, Command]:
    """The commands of these modules: operations of one name are one topic, told apart by `resource`."""
    found: dict[str, dict[str | None, Operation]] = defaultdict(dict)
    for module in modules:
        for name, operations in getattr(module, "OPERATIONS", {}).items():
            found[name] |= operations
    return {name: Command(name, operations) for name, operations in sorted(found.items())}


WATCHES: Mapping[str, Watch] = {row.resource: row for module in MODULES for row in getattr(module, "WATCHES", ())}
CALLBACKS: Mapping[str, Callback] = {row.kind: row for module in MODULES for row in getattr(module, "CALLBACKS", ())}
COMMANDS: Mapping[str, Command] = commands(MODULES)
