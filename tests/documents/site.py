"""A hook of MkDocs: links to files of the repository beyond docs/ lead to the repository, and `docs/README.md` begins.

Until there is a published place, such a link names the file (`REPOSITORY_URL` in the environment gives the place).
"""

import os
import re
from typing import Any

BEYOND = re.compile(r"\]\(\.\./([^)#\s]+)(#[^)\s]*)?\)")
PLACE = os.environ.get("REPOSITORY_URL", "https://example.com/twilio-kafka-connector")


def _as_in_the_repository(text: str, separator: str) -> str:
    """The anchor of a heading as code hosts make it: punctuation goes, each space becomes a hyphen."""
    del separator
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


def on_config(config: Any) -> Any:
    """Anchors are the same on the site and in the repository."""
    config["mdx_configs"].setdefault("toc", {})["slugify"] = _as_in_the_repository
    return config


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Lead links that leave docs/ to the repository."""
    return BEYOND.sub(lambda link: f"]({PLACE}/blob/main/{link[1]}{link[2] or ''})", markdown)
