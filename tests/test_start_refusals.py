"""What the start needs and cannot have is one sentence on standard error and exit code 69: ports, folders, sockets."""

import asyncio
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import web

from connector.admin.server import AdminServer
from connector.dev.broker import Broker
from connector.errors import Unavailable
from connector.executor.media import object_store
from connector.process.needs import private_folder
from connector.simulator import Simulator
from tests.running import Connector, configuration

IN_USE = "Address already in use"


async def refused(process: Connector, *options: str) -> str:
    """The one line that a start ends with; it exits with 69."""
    await process.start(ready=False, options=options, afresh=True)
    assert process.process is not None
    async with asyncio.timeout(60):
        assert await process.process.wait() == 69, process.log
    sentences = [line for line in process.log.splitlines() if not line.startswith("{")]
    assert "Traceback" not in process.log
    assert len(sentences) == 1, process.log
    return sentences[0]


@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["one process", "workers"])
@pytest.mark.parametrize("section", ["admin", "callbacks"])
async def test_a_taken_port_ends_the_start(
    simulator: Simulator, kafka: str, prefix: str, tmp_path: Path, *, section: str, options: tuple[str, ...]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        document = configuration(simulator, kafka=kafka, prefix=prefix, **{section: {"port": port}})
        process = Connector(document, tmp_path)
        await process.apply_topics()
        sentence = await refused(process, *options)
    assert sentence == (
        f"{section}.port: cannot listen on 127.0.0.1:{port} ({IN_USE}): stop what does, or take another."
    )


async def test_an_admin_port_on_an_address_of_another_machine_says_so() -> None:
    server = AdminServer(live=list, ready=list)
    with pytest.raises(Unavailable, match=r"^admin.port: cannot listen on 192\.0\.2\.1:9090 \(Cannot assign requested"):
        await server.start(host="192.0.2.1", port=9090)
    with pytest.raises(Unavailable, match=r"^admin.port: cannot listen on no-such-host.invalid:9090 \(.+\): stop"):
        await server.start(host="no-such-host.invalid", port=9090)


async def test_a_workers_socket_that_cannot_be_had_says_so(tmp_path: Path) -> None:
    server = AdminServer(live=list, ready=list)
    with pytest.raises(Unavailable, match=r"^The worker cannot listen on .*: set TMPDIR to another, shorter folder\.$"):
        await server.start_on(tmp_path / ("x" * 120))
    with pytest.raises(Unavailable, match="No such file or directory"):
        await server.start_on(tmp_path / "missing" / "1.sock")
    assert isinstance(server.app, web.Application)


def test_a_folder_for_sockets_that_cannot_be_had_says_so(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"^No folder for temporary files can be had \(No such file or directory\)"):
        private_folder(tmp_path / "missing")


def test_a_folder_for_recordings_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    sentence = r"^commands\.recording_store: cannot write to the folder .*: correct its rights, or name another\.$"
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nowhere")):
        with pytest.raises(Unavailable, match=sentence):
            object_store(f"file://{folder}")
    object_store(f"file://{tmp_path / 'made' / 'with all above'}")
    assert (tmp_path / "made" / "with all above").is_dir()


async def test_a_data_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match=r"^--data: cannot write to the folder .*/file \(File exists\)"):
        await Broker(folder=tmp_path / "file").start()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["simulator", "--port", "{port}"], f"--port: cannot listen on 127.0.0.1:{{port}} ({IN_USE}): stop"),
        (["schemas", "export", "{folder}/file/below"], "{folder}/file/below"),
    ],
    ids=["simulator", "schemas"],
)
def test_other_commands_say_so_as_well(arguments: list[str], sentence: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        known = {"port": taken.getsockname()[1], "folder": tmp_path}
        command = [sys.executable, "-m", "connector", *(item.format(**known) for item in arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603 - our own
    assert done.returncode == 69, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith(sentence.format(**known))
