"""The three operations that nearly every resource has, as rows. Pure."""

from collections.abc import Mapping

from connector.resources.commands import Operation
from connector.resources.rows import Bundle, Host, Parameters


def fetching(
    name: str,
    parameters: type[Parameters],
    path: str,
    bundle: type[Bundle],
    *,
    host: Host = "api",
    nested: Mapping[str, str] | None = None,
) -> Operation:
    """One resource by its SID."""
    return Operation(
        name=name,
        parameters=parameters,
        method="GET",
        path=path,
        bundle=bundle,
        host=host,
        nested=nested or {},
        repeatable=True,
    )


def listing(
    name: str,
    parameters: type[Parameters],
    path: str,
    items: str,
    bundle: type[Bundle],
    *,
    host: Host = "api",
    nested: Mapping[str, str] | None = None,
) -> Operation:
    """All pages of a list; `items` is the name that holds the rows."""
    return Operation(
        name=name,
        parameters=parameters,
        method="GET",
        path=path,
        answer="many",
        items=items,
        bundle=bundle,
        host=host,
        nested=nested or {},
        repeatable=True,
    )


def deleting(name: str, parameters: type[Parameters], path: str) -> Operation:
    """The end of a resource.

    20009, "Cannot delete this resource before it is complete", passes with time (facts: 3.1); 20404: gone already.
    """
    return Operation(
        name=name,
        parameters=parameters,
        method="DELETE",
        path=path,
        answer="none",
        repeatable=True,
        delay_codes=frozenset({20009}),
        done_codes=frozenset({20404}),
    )
