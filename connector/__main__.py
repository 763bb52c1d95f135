"""`twilio-kafka`, also as `python -m connector`. Ctrl-C ends it without a traceback from the first moment on."""

import gc
import sys
from typing import NoReturn

INTERRUPTED = 130
"""The shell's exit code for what Ctrl-C has ended; typer uses it, too."""

YOUNG_OBJECTS = 20_000
"""How many more objects there are before the young ones are searched for cycles; Python's own is 700.

Modules and models stay, and a page of a list is thousands of objects at once, none of them in a cycle: by default they
set off a collection of everything, again and again.
"""


def main() -> NoReturn:
    """Run the command line. `tail` and `dev` end with Ctrl-C, so that it is no failure there."""
    gc.set_threshold(YOUNG_OBJECTS)
    try:
        from connector import cli  # noqa: PLC0415 - Ctrl-C may come while it is imported

        code = cli.main()
    except KeyboardInterrupt:
        code = INTERRUPTED
    if code == INTERRUPTED and sys.argv[1:2] in (["tail"], ["dev"]):
        code = 0
    sys.exit(code)


if __name__ == "__main__":
    main()
