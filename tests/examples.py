"""How many inputs property tests try: some in `make test`, many in `make fuzz`."""

import os

SHARE = float(os.environ.get("EXAMPLES", "0.25"))


def examples(whole: int) -> int:
    """How many inputs this run tries: a quarter of the whole number, or EXAMPLES times as many."""
    return max(10, round(whole * SHARE))
