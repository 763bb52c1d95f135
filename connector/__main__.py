"""`twilio-kafka`, also as `python -m connector`. Ctrl-C ends it without a traceback from the first moment on."""

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line. `tail` and `dev` end with Ctrl-C, so that it is no failure there."""
    try:
        from connector.cli import main as run  # noqa: PLC0415 - Ctrl-C may come while it is imported

        run()
    except KeyboardInterrupt:
        sys.exit(0 if sys.argv[1:2] in (["tail"], ["dev"]) else 1)


if __name__ == "__main__":
    main()
