"""The console's page, style and scripts, as they are in the package."""

import hashlib
from functools import lru_cache
from importlib.resources import files

from aiohttp import web

FOLDER = "static"
TYPES = {
    "html": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
}


@lru_cache(maxsize=1)
def assets() -> dict[str, tuple[bytes, str, str]]:
    """Content, media type and ETag of each file by its path below the folder."""
    found = {}
    for path in _paths("", files("connector.console") / FOLDER):
        kind = TYPES.get(path.rpartition(".")[2])
        if kind is not None:
            content = (files("connector.console") / FOLDER / path).read_bytes()
            found[path] = (content, kind, hashlib.sha256(content).hexdigest()[:20])
    return found


def _paths(before: str, folder: object) -> list[str]:
    found: list[str] = []
    for entry in folder.iterdir():  # type: ignore[attr-defined]  # a Traversable, whose module moves between versions
        path = f"{before}{entry.name}"
        found += _paths(f"{path}/", entry) if entry.is_dir() else [path]
    return found


async def serve(request: web.Request) -> web.Response:
    """A file; `/` is the page. Browsers ask each time, and mostly hear that nothing has changed."""
    found = assets().get(request.match_info.get("path") or "index.html")
    if found is None:
        return web.Response(status=404, text="Not found.\n")
    content, kind, tag = found
    headers = {"Cache-Control": "no-cache", "ETag": f'"{tag}"'}
    if request.headers.get("If-None-Match") == f'"{tag}"':
        return web.Response(status=304, headers=headers)
    return web.Response(body=content, content_type=kind, charset="utf-8", headers=headers)
