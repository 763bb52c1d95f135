"""What is measured: the connector as a user runs it, the baselines, and peers where their binaries are given.

RPCN_BIN and BENTO_BIN name the programs (any build with the http, pure and kafka components); `make peer` builds Bento.
FORMER_PYTHON names an interpreter that has another version of the connector, which takes part as `former` then.
"""

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from bench.machine import Program
from bench.traffic import ACCOUNT_SID, PATH, PUBLIC_URL, TOKEN
from connector.catalog import topics_of
from connector.dev.broker import free_port
from connector.kafka import topics
from connector.settings import load

HERE = Path(__file__).parent
FORMER = os.environ.get("FORMER_PYTHON")
# As the peers' own guides advise for throughput: their batching, and Go's collector less often.
TUNED = {"BATCH_COUNT": "16", "BATCH_PERIOD": "1ms", "GOGC": "400", "MAX_BUFFERED": "32"}


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer's program: `binary` is the variable that names it, `arguments` come before the file."""

    name: str
    binary: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def program(self) -> str:
        """Its program: the one that is named, or the one that was built here; empty without."""
        built = HERE / "out" / self.name / self.name
        return os.environ.get(self.binary) or (str(built) if built.exists() else "")

    @property
    def is_given(self) -> bool:
        """Whether there is one."""
        return bool(self.program)

    def start(self, file: str, *, folder: Path, environment: Mapping[str, str]) -> Program:
        """Start it with a configuration of `peers/`."""
        command = [self.program, *self.arguments, str(HERE / "peers" / file)]
        return Program(self.name, command, folder=folder, environment={**self.environment, **environment})


CONNECT = Peer("connect", "RPCN_BIN", ("run",), TUNED)
BENTO = Peer("bento", "BENTO_BIN", ("-c",), {**TUNED, "BATCH_COUNT": "32"})


def baseline(module: str, name: str, *, folder: Path, environment: Mapping[str, str]) -> Program:
    """Start a baseline of `baseline/`."""
    return Program(name, [sys.executable, "-m", f"bench.baseline.{module}"], folder=folder, environment=environment)


@dataclass
class Connector:
    """The connector with a configuration of its own; every one has its own topics."""

    name: str
    folder: Path
    document: dict[str, Any]
    workers: int = 1
    ports: dict[str, int] = field(default_factory=dict)
    python: str = sys.executable

    @classmethod
    def of(
        cls, name: str, servers: str, folder: Path, *, prefix: str, workers: int = 1, **sections: Any
    ) -> "Connector":
        """A connector for the fictional account; `sections` are merged into the configuration."""
        ports = {"callbacks": free_port(), "admin": free_port()}
        connection = {"account_sid": ACCOUNT_SID, "auth_token": TOKEN, "calls_per_second": 0, "max_concurrency": 1000}
        document: dict[str, Any] = {
            "kafka": {"bootstrap_servers": servers, "topic_prefix": prefix, "partitions": 6, "replication_factor": 1},
            "connections": {"default": connection},
            "watches": [],
            "callbacks": {"host": "127.0.0.1", "port": ports["callbacks"], "public_url": PUBLIC_URL},
            "admin": {"host": "127.0.0.1", "port": ports["admin"]},
            "log": {"format": "json", "level": "warning"},
        }
        for section, values in sections.items():
            merged = isinstance(values, dict) and isinstance(document.get(section), dict)
            document[section] = {**document[section], **values} if merged else values
        return cls(name, folder, document, workers, ports)

    def connection(self, **values: Any) -> "Connector":
        """Change settings of the connection."""
        self.document["connections"]["default"].update(values)
        return self

    @property
    def file(self) -> Path:
        """The configuration file, written."""
        path = self.folder / f"{self.name}.yaml"
        path.write_text(yaml.safe_dump(self.document))
        return path

    @property
    def prefix(self) -> str:
        """The topics' prefix."""
        return str(self.document["kafka"]["topic_prefix"])

    async def total(self, *counters: str) -> int:
        """The sum of these counters of the running process, whatever their labels."""
        url = f"http://127.0.0.1:{self.ports['admin']}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            text = await answer.text()
        names = "|".join(counters)
        found = re.findall(rf"^twilio_kafka_(?:{names})_total{{[^}}]*}} (\S+)", text, re.MULTILINE)
        return sum(int(float(value)) for value in found)

    async def apply_topics(self) -> None:
        """Create its topics."""
        settings = load(self.file, environ={})
        await topics.apply(settings.kafka, topics_of(settings))

    def start(self) -> Program:
        """Start it; its admin port listens when it is ready."""
        more = ["--workers", str(self.workers)] if self.workers > 1 else []
        # What is installed there, whatever lies in this folder.
        command = [self.python, "-P", "-m", "connector", "run", "-c", str(self.file), *more]
        return Program(self.name, command, folder=self.folder, environment={})


def callback_environment(servers: str, topic: str, port: int) -> dict[str, str]:
    """What peers and baselines of the callback path read."""
    return {
        "PORT": str(port),
        "KAFKA": servers,
        "BOOTSTRAP": servers,
        "TOPIC": topic,
        "PUBLIC_URL": PUBLIC_URL + PATH,
        "TWILIO_AUTH_TOKEN": TOKEN,
        "METRICS_PORT": str(free_port()),
    }
