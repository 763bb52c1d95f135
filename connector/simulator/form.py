"""Parameters as they come: repeated names, blank values, case-sensitive; and the readers of their types."""

from collections.abc import Iterable
from urllib.parse import parse_qsl

from connector.simulator.errors import refusal

MAX_FIELDS = 10_000


class Form:
    """The parameters of one request, of query or form."""

    __slots__ = ("pairs", "values")

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self.pairs = list(pairs)
        self.values: dict[str, list[str]] = {}
        for name, value in self.pairs:
            self.values.setdefault(name, []).append(value)

    @classmethod
    def parse(cls, encoded: str) -> "Form":
        """Read `a=b&c=d`."""
        return cls(parse_qsl(encoded, keep_blank_values=True, max_num_fields=MAX_FIELDS) if encoded else ())

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def get(self, name: str, default: str = "") -> str:
        """Return the last value of a name."""
        values = self.values.get(name)
        return values[-1] if values else default

    def all(self, name: str) -> list[str]:
        """Return all values of a name, blank ones left out."""
        return [value for value in self.values.get(name, ()) if value]

    def boolean(self, name: str, *, default: bool = False) -> bool:
        """Read `true` or `false`; anything else is refused (20001)."""
        value = self.get(name).lower()
        if value not in {"", "true", "false"}:
            raise refusal(20001, message=f"Invalid value for {name}: use true or false")
        return value == "true" if value else default

    def integer(self, name: str, *, default: int, low: int, high: int, code: int = 20001) -> int:
        """Read a whole number within bounds; anything else is refused with `code`."""
        value = self.get(name)
        if not value:
            return default
        if not value.lstrip("-").isdigit() or not low <= int(value) <= high:
            raise refusal(code, message=f"{name} must be a whole number from {low} to {high}")
        return int(value)

    def choice(self, name: str, options: Iterable[str], *, default: str = "", code: int = 20001) -> str:
        """Read one of several words; anything else is refused with `code`."""
        value = self.get(name)
        if value and value not in options:
            raise refusal(code, message=f"Invalid value for {name}: use one of {', '.join(options)}")
        return value or default
