"""`download-recording` in the real process: memory, bytes, unfinished recordings, broken downloads, object stores."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
from aiokafka import ConsumerRecord

from connector.simulator import Simulator
from tests.producing import Message, produce
from tests.running import Connector, configuration, headers_of, read_all, running, until, values, wait_for_records

MIB = 1024 * 1024
LARGEST_GROWTH = 20 * MIB
LARGEST_RECORD = 512 * 1024
SECONDS_OF_30_MB = 1_875  # 16 kB of WAV a second
SECONDS_OF_2_MB = 125


async def download(kafka: str, prefix: str, sid: str, *, name: str = "d", **options: Any) -> None:
    headers = {"id": name, **options.pop("headers", {})}
    topic = f"{prefix}.commands.download-recording"
    await asyncio.to_thread(produce, kafka, [Message(topic, {"sid": sid, **options}, "k", headers)])


async def result(kafka: str, prefix: str, count: int = 1) -> Any:
    return values(await wait_for_records(kafka, f"{prefix}.results.download-recording", count, within=60))[-1]


async def media_of(simulator: Simulator, sid: str, extension: str) -> bytes:
    """The file as any client gets it."""
    url = f"{simulator.url}/2010-04-01/Accounts/{simulator.account_sid}/Recordings/{sid}.{extension}"
    auth = aiohttp.encode_basic_auth(simulator.account_sid, simulator.auth_token)
    async with aiohttp.ClientSession() as session, session.get(url, headers={"Authorization": auth}) as answer:
        assert answer.status == 200
        return await answer.read()


def put_together(records: list[ConsumerRecord]) -> bytes:
    """The file of a recording's chunks: numbered from 0, each with the number of them and the hash of the whole."""
    chunks = {int(headers_of(record)["chunk"]): record for record in records}
    assert sorted(chunks) == list(range(len(records)))
    whole = b"".join(chunks[number].value for number in sorted(chunks))
    for record in records:
        headers = headers_of(record)
        assert headers["chunks"] == str(len(records))
        assert headers["sha256"] == hashlib.sha256(whole).hexdigest()
        assert headers["ce_type"] == "twilio.recording.media.v1"
        assert len(record.value) <= LARGEST_RECORD
    return whole


def resident(process: Connector) -> int:
    """Bytes in memory of the process."""
    assert process.process is not None
    status = Path(f"/proc/{process.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) * 1024


def core_size(process: Connector) -> tuple[str, ...]:
    """How much of its memory a core dump may have: now, and at most."""
    assert process.process is not None
    limits = Path(f"/proc/{process.process.pid}/limits").read_text()
    return tuple(limits.partition("Max core file size")[2].split()[:2])


@contextlib.asynccontextmanager
async def watching_memory(process: Connector) -> AsyncIterator[list[int]]:
    """Its memory, every 20 ms."""
    found = [resident(process)]

    async def watch() -> None:
        while True:
            found.append(resident(process))
            await asyncio.sleep(0.02)

    watching = asyncio.create_task(watch())
    try:
        yield found
    finally:
        watching.cancel()


async def test_30_mb_pass_with_less_than_20_mb_of_memory_and_come_back_identical(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    (sid,) = simulator.fill("recordings", count=1, duration=SECONDS_OF_30_MB)
    document = configuration(simulator, kafka=kafka, prefix=prefix, roles=["commands"])
    async with running(document, tmp_path) as (process,), watching_memory(process) as memory:
        await download(kafka, prefix, sid)
        done = await result(kafka, prefix)
        growth = max(memory) - memory[0]
        chunks = await read_all(kafka, f"{prefix}.recording-media")
    (bundle,) = done["bundles"]
    whole = put_together(chunks)
    assert done["outcome"] == "succeeded"
    assert growth < LARGEST_GROWTH, f"{growth / MIB:.1f} MiB"
    assert len(whole) == bundle["size"] > 30_000_000
    assert whole == await media_of(simulator, sid, "wav")
    assert (bundle["chunks"], bundle["sha256"]) == (len(chunks), hashlib.sha256(whole).hexdigest())
    assert {headers_of(record)["content-type"] for record in chunks} == {"audio/wav"}
    assert {record.key.decode() for record in chunks} == {sid}


async def test_a_recording_that_is_still_processed_is_waited_for(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    (sid,) = simulator.fill("recordings", count=1, duration=1, status="processing")
    document = configuration(simulator, kafka=kafka, prefix=prefix, roles=["commands"])
    async with running(document, tmp_path):
        await download(kafka, prefix, sid, format="mp3")
        await until(lambda: len(simulator.journal.of("FetchRecording")) >= 2)
        assert await read_all(kafka, f"{prefix}.results.download-recording") == []
        simulator.set_status(sid, "completed")
        done = await result(kafka, prefix)
        whole = put_together(await read_all(kafka, f"{prefix}.recording-media"))
    assert done["outcome"] == "succeeded"
    assert done["attempts"] >= 3
    assert whole == await media_of(simulator, sid, "mp3")


async def test_a_download_that_breaks_off_is_repeated_and_leaves_no_chunk(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    broken, mended = simulator.fill("recordings", count=2, duration=SECONDS_OF_2_MB)
    simulator.fault("cut-answer", "FetchRecordingMedia", times=2)
    document = configuration(simulator, kafka=kafka, prefix=prefix, roles=["commands"])
    async with running(document, tmp_path):
        soon = datetime.now(UTC) + timedelta(seconds=1.2)
        await download(kafka, prefix, broken, headers={"expires-at": soon.isoformat()})
        gone = await result(kafka, prefix)
        assert await read_all(kafka, f"{prefix}.recording-media") == []
        await download(kafka, prefix, mended, name="again")
        done = await result(kafka, prefix, 2)
        whole = put_together(await read_all(kafka, f"{prefix}.recording-media"))
    assert gone["outcome"] == "expired"
    assert done["outcome"] == "succeeded"
    assert whole == await media_of(simulator, mended, "wav")


async def test_an_object_store_gets_whole_files_only_that_no_other_user_reads(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    (sid,) = simulator.fill("recordings", count=1, duration=SECONDS_OF_2_MB)
    fault = simulator.fault("cut-answer", "FetchRecordingMedia")
    commands = {"recording_store": f"file://{store}"}
    document = configuration(simulator, kafka=kafka, prefix=prefix, commands=commands, roles=["commands"])
    async with running(document, tmp_path) as (process,):
        dumped = core_size(process)
        await download(kafka, prefix, sid)
        await until(lambda: fault.hit >= 2)
        # A part in progress is kept under a name of its own (`….wav#1`); the file itself must not be there.
        assert not (store / f"{sid}.wav").exists()
        simulator.faults.clear()
        done = await result(kafka, prefix)
        assert await read_all(kafka, f"{prefix}.recording-media") == []
    (bundle,) = done["bundles"]
    expected = await media_of(simulator, sid, "wav")
    assert (store / f"{sid}.wav").read_bytes() == expected
    assert [path.name for path in store.iterdir()] == [f"{sid}.wav"]
    assert (store.stat().st_mode & 0o777, (store / f"{sid}.wav").stat().st_mode & 0o777) == (0o700, 0o600)
    assert dumped == ("0", "0")
    assert bundle["url"] == f"file://{store}/{sid}.wav"
    assert (bundle["size"], bundle["chunks"]) == (len(expected), None)
    assert bundle["sha256"] == hashlib.sha256(expected).hexdigest()


async def test_an_object_store_that_is_away_is_waited_for(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    (sid,) = simulator.fill("recordings", count=1, duration=1)
    commands = {"recording_store": f"file://{store}"}
    document = configuration(simulator, kafka=kafka, prefix=prefix, commands=commands, roles=["commands"])
    async with running(document, tmp_path) as (process,):
        store.rename(tmp_path / "elsewhere")
        store.write_text("no folder")
        await download(kafka, prefix, sid)
        await process.wait_for_log("recording not stored")
        store.unlink()
        (tmp_path / "elsewhere").rename(store)
        done = await result(kafka, prefix)
    assert done["outcome"] == "succeeded"
    assert (store / f"{sid}.wav").read_bytes() == await media_of(simulator, sid, "wav")
