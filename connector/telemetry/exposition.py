"""Metrics as text, in the format that the reader prefers: OpenMetrics, or Prometheus' classic text format."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

OPENMETRICS = openmetrics.CONTENT_TYPE_LATEST
TEXT = CONTENT_TYPE_PLAIN_0_0_4

FORMATS = (OPENMETRICS, TEXT)

_WRITERS: Mapping[str, Callable[[CollectorRegistry], bytes]] = MappingProxyType(
    {OPENMETRICS: openmetrics.generate_latest, TEXT: generate_latest}
)
# A reader that takes anything, such as a browser or curl, gets what every tool understands.
_CONTENT_TYPES = {"application/openmetrics-text": OPENMETRICS, "text/plain": TEXT, "text/*": TEXT, "*/*": TEXT}


def preferred(accept: str) -> str:
    """The content type that an Accept header prefers (RFC 9110, section 12.5.1); the classic format by default."""
    ranges = [_range(part) for part in accept.split(",")]
    known = [(quality, _CONTENT_TYPES[media]) for media, quality in ranges if media in _CONTENT_TYPES and quality > 0]
    return max(known, key=lambda found: found[0], default=(0.0, TEXT))[1]


def text(registry: CollectorRegistry, content_type: str) -> bytes:
    """Every metric of the registry in the format of this content type."""
    return _WRITERS[content_type](registry)


def _range(part: str) -> tuple[str, float]:
    """A media range and its quality; 0 for a quality that cannot be read."""
    media, *parameters = (item.strip().lower() for item in part.split(";"))
    quality = next((item[2:] for item in parameters if item.startswith("q=")), "1")
    try:
        return media, float(quality)
    except ValueError:
        return media, 0.0
