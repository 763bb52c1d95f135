"""Media behind a redirect to another host, as a content network does it: it refuses Twilio credentials.

Source: Twilio, messaging/api/media-resource.
"""

from urllib.parse import quote, urlsplit

from connector.simulator.routes import Reply, Request

PREFIX = "/_media/"


def redirected(request: Request, sid: str) -> Reply:
    """Send the client to the media under another host name of this machine."""
    parts = urlsplit(request.base_url)
    host = "localhost" if parts.hostname != "localhost" else "127.0.0.1"
    query = "&".join(f"{quote(name)}={quote(value)}" for name, value in request.parameters.pairs)
    path = f"{PREFIX}{request.account.sid}/{sid}{request.suffix}"
    location = f"http://{host}:{parts.port}{path}?{query}"
    return Reply(status=307, headers={"Location": location}, sid=sid)
