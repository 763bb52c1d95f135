"""The catalog: every watch, callback and command, collected from one module per section of the specification.

Adding a watch, a callback or a command is adding a row (or a module) here; no engine changes.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from types import ModuleType

from connector.resources import messages
from connector.resources.rows import Callback, Command, Operation, Watch

MODULES: tuple[ModuleType, ...] = (messages,)


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
