"""Every setting, its default, its bounds, and where it came from.

units  section             how values are written; what sections have in common
kafka connections watches  the sections with rules of their own
model                      all settings
shape                      which keys there are, read off the models
tree  document environment values with their origins: the file, the variables
problems                   what is wrong, all of it
loading                    load, load_with_origins, reread_secrets, secret_files
view schema explanation    effective settings, masked; JSON Schema; every key in words
"""

from connector.settings.connections import Connection, Credentials
from connector.settings.explanation import Explanation, explain, template
from connector.settings.kafka import KafkaSettings, SaslSettings, TlsSettings
from connector.settings.loading import Loaded, load, load_with_origins, reread_secrets, secret_files
from connector.settings.model import (
    AdminSettings,
    CallbackSettings,
    CommandSettings,
    LogSettings,
    Role,
    Settings,
)
from connector.settings.schema import json_schema
from connector.settings.tree import Origin
from connector.settings.units import Duration, Size, format_duration, parse_duration, parse_instant
from connector.settings.view import Row, effective
from connector.settings.watches import RESOURCES, Resource, WatchSettings

__all__ = [
    "RESOURCES",
    "AdminSettings",
    "CallbackSettings",
    "CommandSettings",
    "Connection",
    "Credentials",
    "Duration",
    "Explanation",
    "KafkaSettings",
    "Loaded",
    "LogSettings",
    "Origin",
    "Resource",
    "Role",
    "Row",
    "SaslSettings",
    "Settings",
    "Size",
    "TlsSettings",
    "WatchSettings",
    "effective",
    "explain",
    "format_duration",
    "json_schema",
    "load",
    "load_with_origins",
    "parse_duration",
    "parse_instant",
    "reread_secrets",
    "secret_files",
    "template",
]
