"""Was it executed? What an ambiguous create may have made, looked up in Twilio's list. The choice is pure."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Any

import orjson

from connector.resources.fields import parse_time
from connector.resources.rows import Operation, Parameters, Request
from connector.twilio.client import TwilioClient
from connector.twilio.paging import pages

# Clocks of Twilio and ours may differ by this, and Twilio's times are whole seconds.
SKEW = timedelta(seconds=5)
PAGE_SIZE = "200"
# Lists are newest first; what we look for was made within the last minutes.
MAX_PAGES = 20

Row = Mapping[str, Any]


def alike(operation: Operation, parameters: Parameters) -> str:
    """A fingerprint that is equal for creates which cannot be told apart in Twilio's list."""
    row = operation.reconciliation
    if row is None:
        return ""
    compared = [str(getattr(parameters, name)) for name in sorted(row.compared)]
    return hashlib.blake2s(orjson.dumps([operation.name, row.query(parameters), compared]), digest_size=8).hexdigest()


def choose(found: Iterable[Row], *, claimed: Collection[str], rank: int = 0) -> Row | None:
    """The oldest that no other command has claimed; None when there is none.

    `rank` is how many commands in doubt, which look alike, come before: theirs are the oldest then.
    """
    free = sorted((row for row in found if row["sid"] not in claimed), key=lambda row: (created(row), row["sid"]))
    return free[rank] if rank < len(free) else None


def created(row: Row) -> datetime:
    """When Twilio created a row."""
    return parse_time(row["date_created"])


async def candidates(
    client: TwilioClient, operation: Operation, parameters: Parameters, *, since: datetime, until: datetime
) -> Sequence[Row]:
    """What Twilio's list shows now that was created in this time and may come from these parameters.

    No date filter: rows that are not yet sent have no date (facts, section 8). Raises TwilioError.
    """
    row = operation.reconciliation
    if row is None:
        return ()
    earliest = since.replace(microsecond=0)
    query = (*row.query(parameters), ("PageSize", PAGE_SIZE))
    request = Request(method="GET", path=row.path, query=query, host=operation.host, operation=f"List{operation.name}")
    found: list[Row] = []
    walked = 0
    walk = pages(client, request, items=row.items)
    async with aclosing(walk):
        async for page in walk:
            recent = [item for item in page.rows if created(item) >= earliest]
            found += [item for item in recent if created(item) <= until and row.matches(parameters, item)]
            walked += 1
            if not recent or walked == MAX_PAGES:
                break
    return found
