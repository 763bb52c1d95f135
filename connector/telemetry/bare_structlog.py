"""structlog without rich, which draws tracebacks in colours: we show none, and it is a twelfth of a start and 3 MiB."""

import sys

_is_blocked = "rich" not in sys.modules
if _is_blocked:
    # To Python: there is no such module.
    sys.modules["rich"] = None  # type: ignore[assignment]  # documented: an import of it fails then

import structlog  # noqa: E402 - see above
from structlog.typing import ExcInfo  # noqa: E402 - the same

if _is_blocked:
    del sys.modules["rich"]

__all__ = ["ExcInfo", "structlog"]
