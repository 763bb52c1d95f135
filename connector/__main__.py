"""`twilio-kafka`, also as `python -m connector`. Ctrl-C ends it without a traceback from the first moment on."""

import sys
from typing import NoReturn

INTERRUPTED = 130
"""The shell's exit code for what Ctrl-C has ended; typer uses it, too."""


def main() -> NoReturn:
    """Run the command line. `tail` and `dev` end with Ctrl-C, so that it is no failure there."""
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
