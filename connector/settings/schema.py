"""The JSON Schema of the configuration file, for editors and for `schemas/configuration.json`."""

from datetime import timedelta
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from connector.settings.model import Settings
from connector.settings.units import format_duration


class _Generator(GenerateJsonSchema):
    """Writes defaults as the file would; leaves out titles that only repeat the key."""

    def encode_default(self, dft: Any) -> Any:
        return format_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)

    def field_title_should_be_set(self, schema: Any) -> bool:
        del schema
        return False


def json_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of the configuration file."""
    schema = Settings.model_json_schema(schema_generator=_Generator)
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema, "title": "Configuration of twilio-kafka"}
