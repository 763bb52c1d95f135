"""All rows of all resources, in one place for the server."""

from connector.simulator import (
    administration,
    alerts,
    applications,
    calls,
    media,
    messages,
    notifications,
    phone_numbers,
    plain,
    products,
    recordings,
    transcriptions,
)

ROUTES = (
    *messages.ROUTES,
    *media.ROUTES,
    *calls.ROUTES,
    *recordings.ROUTES,
    *transcriptions.ROUTES,
    *alerts.ROUTES,
    *notifications.ROUTES,
    *phone_numbers.ROUTES,
    *applications.ROUTES,
    *administration.ROUTES,
    *plain.ROUTES,
    *products.ROUTES,
)
