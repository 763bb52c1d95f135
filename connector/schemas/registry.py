"""The optional schema registry: schemas are registered at the start, and each record says in a header which is its own.

The header and its bytes are what Confluent's clients of today read (confluent_kafka.schema_registry.header_schema_id…).
Values stay plain JSON, so that a reader without a registry notices nothing.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from connector.errors import ConfigurationError, Unavailable
from connector.kafka.sending.batches import SCHEMA_HEADERS
from connector.settings.kafka import RegistrySettings
from connector.telemetry.logs import logger

log = logger(__name__)

EXTRA = (
    "kafka.schema_registry: needs the extra 'registry': pip install '.[registry]' where the source is, "
    "or remove schema_registry."
)
TIMEOUT_SECONDS = 10
RETRIES = 2
RETRY_MS = 300


async def register(registry: RegistrySettings, schemas: Mapping[str, Mapping[str, Any]]) -> None:
    """Register the JSON Schema of each topic's values, under the subject `{topic}-value`.

    Raises ConfigurationError without the extra, Unavailable when the registry does not answer or does not take one.
    """
    try:
        from confluent_kafka.schema_registry import AsyncSchemaRegistryClient, Schema  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ConfigurationError(EXTRA) from error
    found = {}
    async with AsyncSchemaRegistryClient(_options(registry)) as client:
        for topic, document in schemas.items():
            schema = Schema(json.dumps(document), "JSON")
            with _translated(registry, f"{topic}-value"):
                found[topic] = _header(await client.register_schema_full_response(f"{topic}-value", schema))
    SCHEMA_HEADERS.clear()
    SCHEMA_HEADERS.update(found)
    log.info("schemas registered", registry=registry.url, subjects=len(found))


def _options(registry: RegistrySettings) -> dict[str, Any]:
    options: dict[str, Any] = {
        "url": registry.url,
        "timeout": TIMEOUT_SECONDS,
        "max.retries": RETRIES,
        "retries.wait.ms": RETRY_MS,
    }
    if registry.username and registry.password:
        options["basic.auth.user.info"] = f"{registry.username}:{registry.password.get_secret_value()}"
    return options


def _header(registered: Any) -> tuple[str, bytes]:
    """Name and bytes of the header: the schema's GUID, or its number where the registry knows no GUIDs."""
    from confluent_kafka.schema_registry import _VALUE_SCHEMA_ID  # noqa: PLC0415 - an extra
    from confluent_kafka.schema_registry.serde import SchemaId  # noqa: PLC0415 - the same

    identity = SchemaId("JSON", registered.schema_id, registered.guid)
    return _VALUE_SCHEMA_ID, identity.id_to_bytes() if registered.guid is None else identity.guid_to_bytes()


@contextmanager
def _translated(registry: RegistrySettings, subject: str) -> Iterator[None]:
    """The client's exceptions as ours."""
    from confluent_kafka.schema_registry import SchemaRegistryError  # noqa: PLC0415 - an extra

    try:
        yield
    except SchemaRegistryError as error:
        raise Unavailable(
            f"kafka.schema_registry.url: {registry.url} does not take the schema of {subject} (HTTP "
            f"{error.http_status_code}: {error.error_message}). Correct what it says, or remove schema_registry."
        ) from error
    except Exception as error:
        raise Unavailable(
            f"kafka.schema_registry.url: {registry.url} does not answer ({type(error).__name__}). "
            "Start the registry, correct the address, or remove schema_registry."
        ) from error
