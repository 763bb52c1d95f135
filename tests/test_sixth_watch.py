"""A further list to watch, with a filter that no other list has, is one row: the rest is read off the catalog."""

import subprocess
import sys
from pathlib import Path

# What a module of connector/resources would say, before anything reads the catalog.
ROW = """
from dataclasses import replace
from connector.resources import WATCHES
WATCHES["notifications"] = replace(
    WATCHES["recordings"], resource="notifications", noun="notification", filters={"log": "Log", "call_sid": "CallSid"}
)
"""
USE = """
import json
from pathlib import Path
from connector.catalog import topics_of
from connector.schemas import asyncapi
from connector.settings import load
from connector.settings.schema import json_schema

settings = load(Path("connector.yaml"), environ={})
print(json.dumps({
    "filters": settings.watches[0].filters,
    "topics": [topic.name for topic in topics_of(settings)],
    "schema": "log" in json_schema()["$defs"]["WatchSettings"]["properties"],
    "asyncapi": "notifications" in asyncapi()["channels"],
}))
"""
CONFIGURATION = """
connections: {default: {account_sid: AC00000000000000000000000000000001, auth_token: token}}
roles: [watch]
watches: [{resource: notifications, log: "0"}]
"""


def test_a_sixth_list_with_a_filter_of_its_own_is_configured_and_described(tmp_path: Path) -> None:
    (tmp_path / "connector.yaml").write_text(CONFIGURATION)
    code = ROW + USE
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    assert done.returncode == 0, done.stderr[-2000:]
    assert '"filters": {"log": "0"}' in done.stdout
    assert '"twilio.notifications"' in done.stdout
    assert '"schema": true' in done.stdout
    assert '"asyncapi": true' in done.stdout
