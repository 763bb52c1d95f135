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
    dated = ((moment, row["sid"], row) for row in found if (moment := created(row)) is not None)
    free = sorted((one for one in dated if one[1] not in claimed), key=lambda one: one[:2])
    return free[rank][2] if rank < len(free) else None


def created(row: Row) -> datetime | None:
    """When Twilio created a row; None when the row does not say."""
    text = row.get("date_created")
    try:
        return parse_time(text) if isinstance(text, str) else None
    except (ValueError, OverflowError):
        return None


def is_candidate(row: object, *, since: datetime, until: datetime) -> bool:
    """Whether a list's row has a SID and was created in this time.

    A row without a readable date is not one: adopting what may be older would call another message this command's.
    """
    if not isinstance(row, dict) or not isinstance(row.get("sid"), str) or not row["sid"]:
        return False
    moment = created(row)
    return moment is not None and since <= moment <= until


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
            recent = [item for item in page.rows if is_candidate(item, since=earliest, until=until)]
            found += [item for item in recent if row.matches(parameters, item)]
            walked += 1
            if _is_older(page.rows, earliest) or walked == MAX_PAGES:
                break
    return found


def _is_older(rows: Sequence[object], earliest: datetime) -> bool:
    """Whether a page leads back beyond this moment: all of its dated rows are older, and there is one."""
    moments = [moment for row in rows if isinstance(row, dict) and (moment := created(row)) is not None]
    return bool(moments) and max(moments) < earliest
