"""Results as their published schemas want them."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import jsonschema_rs

from connector.schemas.documents import documents


@lru_cache(maxsize=16)
def _validator(command: str) -> Any:
    return jsonschema_rs.Draft202012Validator(documents()[f"results/{command}.json"], validate_formats=True)


def check(result: Mapping[str, Any]) -> None:
    """Raise when a result does not fit the schema of its command, or its message is too long."""
    _validator(result["command"]["name"]).validate(result)
    error = result["error"]
    assert error is None or len(error["message"].encode()) <= 2_000
