"""What the start needs of the machine, ports and folders: where it cannot have them, one sentence and exit code 69."""

import os
import tempfile
from pathlib import Path

from connector.errors import Unavailable


def reason(error: OSError) -> str:
    """The system's words for an error, without what asyncio wraps around them."""
    is_system = error.errno is not None and error.errno > 0
    return os.strerror(error.errno) if is_system and error.errno else error.strerror or str(error)


def cannot_listen(key: str, host: str, port: int, error: OSError) -> Unavailable:
    """The error for a port that cannot be had. `key` is the setting or option that names it."""
    return Unavailable(f"{key}: cannot listen on {host}:{port} ({reason(error)}): stop what does, or take another.")


def writable_folder(key: str, folder: Path) -> None:
    """Make the folder if it is missing, and write into it. Raises Unavailable."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        sentence = f"{key}: cannot write to the folder {folder} ({reason(error)}): correct its rights, or name another."
        raise Unavailable(sentence) from error


def private_folder(parent: Path | None = None) -> "tempfile.TemporaryDirectory[str]":
    """A folder of this process alone, among the temporary files. Raises Unavailable."""
    try:
        return tempfile.TemporaryDirectory(prefix="twilio-kafka-", dir=parent)
    except OSError as error:
        sentence = f"No folder for temporary files can be had ({reason(error)}): set TMPDIR to one that can be written."
        raise Unavailable(sentence) from error
