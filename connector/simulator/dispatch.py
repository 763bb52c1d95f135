"""From a request to its operation: paths as patterns, suffixes, parameters."""

from aiohttp import web

from connector.simulator.form import Form
from connector.simulator.resources import ROUTES
from connector.simulator.routes import Route, tables

API = "/2010-04-01/"
SUFFIXES = (".json", ".xml", ".wav", ".mp3")
MEDIA_SUFFIXES = frozenset({"", ".wav", ".mp3"})
METHODS = frozenset({"GET", "POST", "DELETE"})
FORM = "application/x-www-form-urlencoded"
TABLE = tables(ROUTES)


def parameters(request: web.BaseRequest, query: str, body: bytes) -> Form:
    """Read the query, or the form of a POST; JSON bodies are not understood, as on the 2010 API.

    Source: Twilio, usage/twilios-response.
    """
    if request.method != "POST":
        return Form.parse(query)
    is_form = request.headers.get("Content-Type", "").startswith(FORM)
    return Form.parse(body.decode(errors="replace") if is_form else "")


def pattern(path: str) -> tuple[str, tuple[str, ...], str]:
    """Split a path into its pattern (instances as `*`), the instances, and the suffix."""
    suffix = next((ending for ending in SUFFIXES if path.endswith(ending)), "")
    bare = path.removesuffix(suffix) if suffix else path
    is_2010 = bare.startswith(API)
    parts = (bare[len(API) :] if is_2010 else bare[1:]).split("/")
    first = 1 if is_2010 else 2
    sids = tuple(parts[first::2])
    shown = ["*" if position >= first and (position - first) % 2 == 0 else part for position, part in enumerate(parts)]
    return "/".join(shown), sids, suffix


def methods(method: str, path: str, suffix: str) -> dict[str, Route]:
    """Return the operations of a path pattern; a GET without `.json` may mean the media instead of the metadata."""
    media = TABLE.get(f"{path}:media") if method == "GET" and suffix in MEDIA_SUFFIXES else None
    return media or TABLE.get(path, {})


def account_in(path: str) -> str:
    """Return the account SID of a path; empty on the newer domains."""
    parts = path.split("/", 4)
    return parts[3].partition(".")[0] if path.startswith(API) and len(parts) > 3 else ""  # noqa: PLR2004 - position
