"""How a resource says what it answers: rows of operation, method, path, handler and the known parameters."""

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from connector.simulator.accounts import Account
from connector.simulator.collection import R
from connector.simulator.form import Form
from connector.simulator.state import State
from connector.simulator.store import Store

PAGING = ("PageSize", "Page", "PageToken")


@dataclass(slots=True, kw_only=True)
class Request:
    """What a handler gets; `sids` are the instances in the path after the account."""

    state: State
    store: Store
    account: Account
    operation: str
    method: str
    path: str
    base_url: str
    suffix: str  # .json, .wav, .mp3, .xml or nothing
    sids: tuple[str, ...]
    parameters: Form
    credential: str = ""  # AC… or SK… that authenticated


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a handler answers; `sid` goes into the journal."""

    status: int = 200
    body: Any = None  # JSON value; None: no body
    raw: bytes | None = None
    stream: AsyncIterator[bytes] | None = None
    length: int = 0  # of the stream
    cut: bool = False  # close the connection in the middle
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    sid: str = ""
    name: str = ""  # root element when XML was asked for


Handler = Callable[[Request], Reply]


@dataclass(frozen=True, slots=True)
class Route:
    """One operation. `path` writes instances as `*`: `Accounts/*/Messages/*`."""

    operation: str
    method: str
    path: str
    handler: Handler
    known: frozenset[str] = frozenset()
    test_credentials: bool = False  # whether test credentials may use it

    @property
    def creates(self) -> bool:
        """Whether it makes something new."""
        return self.operation.startswith("Create")


def names(*known: str, paged: bool = False) -> frozenset[str]:
    """Return the parameter names of a row."""
    return frozenset((*known, *(PAGING if paged else ())))


def tables(routes: Iterable[Route]) -> dict[str, dict[str, Route]]:
    """Index routes by path, then by method."""
    table: dict[str, dict[str, Route]] = {}
    for route in routes:
        table.setdefault(route.path, {})[route.method] = route
    return table


def rendering(render: Callable[[R], dict[str, Any]]) -> Callable[[R], dict[str, Any]]:
    """Let a row's `extra` replace or add to what a render function writes."""

    @wraps(render)
    def rendered(row: R) -> dict[str, Any]:
        body = render(row)
        return body if row.extra is None else body | row.extra

    return rendered
