"""Message media: list, fetch, delete, and the bytes (Twilio, messaging/api/media-resource)."""

from typing import Any

from connector.simulator.errors import not_found
from connector.simulator.filters import Dates
from connector.simulator.paging import Listing, page_2010
from connector.simulator.redirects import redirected
from connector.simulator.routes import Reply, Request, Route, rendering
from connector.simulator.rows import Media
from connector.simulator.times import rfc2822

CONTENT_TYPE = {
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "gif": "image/gif",
    "pdf": "application/pdf",
    "mp4": "video/mp4",
    "vcf": "text/vcard",
    "txt": "text/plain",
}


@rendering
def render(row: Media) -> dict[str, Any]:
    """Write a file as `api.v2010.account.message.media`."""
    return {
        "account_sid": row.account_sid,
        "content_type": row.content_type,
        "date_created": rfc2822(row.created),
        "date_updated": rfc2822(row.updated),
        "parent_sid": row.parent_sid,
        "sid": row.sid,
        "uri": f"/2010-04-01/Accounts/{row.account_sid}/Messages/{row.parent_sid}/Media/{row.sid}.json",
    }


LISTING = Listing(key="media_list", filters=(Dates("DateCreated", "created", sorts=True),), render=render)


def list_(request: Request) -> Reply:
    """List the files of a message that exists."""
    if request.sids[0] not in request.store.messages.rows:
        raise not_found(request.path)
    return page_2010(request, LISTING, request.store.media, ("parent_sid", request.sids[0]))


def find(request: Request) -> Media:
    """Return the file of the path; refuses with 20404."""
    row = request.store.media.rows.get(request.sids[1])
    if row is None or row.parent_sid != request.sids[0]:
        raise not_found(request.path)
    return row


def fetch(request: Request) -> Reply:
    """Fetch metadata."""
    row = find(request)
    return Reply(body=render(row), sid=row.sid, name="Media")


def content(request: Request) -> Reply:
    """Fetch the bytes, perhaps by a redirect to another host."""
    row = find(request)
    if request.state.settings.media_redirect:
        return redirected(request, row.sid)
    return Reply(raw=row.content, content_type=row.content_type, sid=row.sid)


def delete(request: Request) -> Reply:
    """Delete a file."""
    row = find(request)
    request.store.media.discard(row)
    if (message := request.store.messages.rows.get(row.parent_sid)) is not None:
        message.num_media -= 1
    return Reply(status=204, sid=row.sid)


ROUTES = (
    Route("ListMedia", "GET", "Accounts/*/Messages/*/Media", list_, LISTING.known),
    Route("FetchMedia", "GET", "Accounts/*/Messages/*/Media/*", fetch),
    Route("FetchMediaContent", "GET", "Accounts/*/Messages/*/Media/*:media", content),
    Route("DeleteMedia", "DELETE", "Accounts/*/Messages/*/Media/*", delete),
)
