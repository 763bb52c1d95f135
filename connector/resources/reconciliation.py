"""How to find out whether an ambiguous create was executed: facts, section 8. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from connector.resources.models import Pairs, Parameters, wire_value


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """How to find out whether an ambiguous create was executed.

    `path` and `items` name the list, `filters` the parameters to ask it by (parameter -> wire name; unset ones are left
    out), `compared` the parameters that must equal a field of the row (parameter -> field), `fixed` what else a
    row of ours shows. `unfiltered`: a parameter is no filter when the other is set (parameter -> other). `masks` writes
    a filter's value (parameter -> format). `blurred`: a parameter is not compared when another has this value, since
    Twilio then stores something else (parameter -> {other: value}). `order` are further parameters of the list that
    bring the newest rows first; `page_size` is the largest that it allows, up to 200.
    """

    path: str
    items: str
    filters: Mapping[str, str]
    compared: Mapping[str, str]
    fixed: Mapping[str, str] = field(default_factory=dict)
    unfiltered: Mapping[str, str] = field(default_factory=dict)
    masks: Mapping[str, str] = field(default_factory=dict)
    blurred: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    order: Pairs = ()
    page_size: int = 200

    def list_path(self, parameters: Parameters) -> str:
        """The list's path, with the parameters that name its parents."""
        return re.sub(r"{([a-z_]+)}", lambda name: str(getattr(parameters, name[1])), self.path)

    def asked(self, parameters: Parameters) -> Pairs:
        """The whole query of a page."""
        return (*self.query(parameters), *self.order, ("PageSize", str(self.page_size)))

    def query(self, parameters: Parameters) -> Pairs:
        """The filters of the list that would show what these parameters created."""
        given = {name: getattr(parameters, name) for name in self.filters if not self._is_unfiltered(name, parameters)}
        return tuple(
            (self.filters[name], self.masks.get(name, "{}").format(wire_value(value)))
            for name, value in given.items()
            if value is not None
        )

    def matches(self, parameters: Parameters, row: Mapping[str, Any]) -> bool:
        """Whether the row may be what these parameters created; its age and other claims are the caller's to judge."""
        if any(row.get(name) != value for name, value in self.fixed.items()):
            return False
        compared = {name: shown for name, shown in self.compared.items() if not self._is_blurred(name, parameters)}
        values = {name: getattr(parameters, name) for name in compared}
        return all(row.get(compared[name]) == wire_value(value) for name, value in values.items() if value is not None)

    def _is_unfiltered(self, name: str, parameters: Parameters) -> bool:
        return name in self.unfiltered and getattr(parameters, self.unfiltered[name]) is not None

    def _is_blurred(self, name: str, parameters: Parameters) -> bool:
        return any(getattr(parameters, other) == value for other, value in self.blurred.get(name, {}).items())
