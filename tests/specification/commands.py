"""Every command with every parameter of the specification."""

from tests.specification import asking, changing, sending
from tests.specification.example import Example
from tests.specification.furnished import Furnished

TABLES = (
    sending.messages,
    sending.calls,
    sending.numbers,
    asking.gets,
    asking.lists,
    asking.downloads,
    changing.updates,
    changing.deletes,
    changing.requests,
)


def examples(rows: Furnished) -> list[Example]:
    """All of them; deletions last."""
    return [example for table in TABLES for example in table(rows)]
