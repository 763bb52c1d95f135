"""The Java program of docs/commands.md, compiled by javac and run with Kafka's own client against the real process."""

import asyncio
import shutil
from pathlib import Path

import pytest

from connector.dev.broker import classpath
from connector.simulator import Simulator
from tests.documents.snippets import snippets
from tests.running import configuration, running

JAVAC, JAVA = shutil.which("javac"), shutil.which("java")


async def said(*command: str, folder: Path) -> str:
    """What a program prints; it must end with 0."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(90):
        output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()[-2000:]
    return output.decode()


@pytest.mark.skipif(JAVAC is None or JAVA is None, reason="no JDK is installed (Debian: default-jdk-headless)")
async def test_the_java_program_sends_a_message_and_prints_its_result(
    simulator: Simulator, kafka: str, prefix: str, tmp_path: Path
) -> None:
    program = next(found.text for found in snippets("java") if "public class SendMessage" in found.text)
    (tmp_path / "SendMessage.java").write_text(program)
    _, jars = await asyncio.to_thread(classpath)
    await said(str(JAVAC), "-Xlint:all", "-Werror", "-proc:none", "-cp", jars, "SendMessage.java", folder=tmp_path)
    document = configuration(simulator, kafka=kafka, prefix=prefix)
    async with running(document, tmp_path):
        output = await said(str(JAVA), "-cp", f"{jars}:{tmp_path}", "SendMessage", kafka, prefix, folder=tmp_path)
    outcome, sid = output.split()
    assert (outcome, sid[:2]) == ("succeeded", "SM")
