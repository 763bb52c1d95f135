"""All rows of all resources, in one place for the server."""

from connector.simulator import media, messages

ROUTES = (*messages.ROUTES, *media.ROUTES)
