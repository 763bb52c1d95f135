"""`python tests/contract/publish.py`: keep the present schemas as the published ones, which no change may break."""

import json
from pathlib import Path

from connector.schemas.documents import documents

FILE = Path(__file__).with_name("published_schemas.json")


def main() -> None:
    """Write the file: one document a line, without examples."""
    lines = [
        f"{json.dumps(path)}: {json.dumps({name: item for name, item in document.items() if name != 'examples'})}"
        for path, document in sorted(documents().items())
    ]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
