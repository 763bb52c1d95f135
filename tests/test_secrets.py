"""Secrets that change while everything runs: read again on SIGHUP, after a 401, and when Kafka refuses us."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its module lists nothing as exported
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from connector.secrets import Secrets, changes
from connector.settings import Loaded, load_with_origins, secret_files
from connector.simulator import PHONE_NUMBER, Account, ApiKey, Simulator
from tests.producing import Message, produce
from tests.running import Connector, configuration, running, until, values, wait_for_records
from tests.secure_kafka import PASSWORD, USER, Authority, Identity, SecureKafka, secure_broker

COMMAND = {"to": "+15550100002", "from": PHONE_NUMBER, "body": "Hello"}


async def send(kafka: str, prefix: str, count: int) -> list[str]:
    """Send a command; the outcomes of all so far, as soon as there are so many."""
    await asyncio.to_thread(produce, kafka, [Message(f"{prefix}.commands.send-message", COMMAND, "k")])
    results = values(await wait_for_records(kafka, f"{prefix}.results.send-message", count, within=60))
    return [str(result["outcome"]) for result in results]


# --- Twilio -----------------------------------------------------------------------------------------------------------
OLD_KEY, NEW_KEY = (ApiKey(sid="SK" + digit * 32, secret=f"secret-{digit}") for digit in "12")


def keyed(simulator: Simulator, folder: Path, kafka: str, prefix: str) -> tuple[dict[str, Any], dict[str, str]]:
    """A configuration whose API key and secret stand in files."""
    write_key(folder, OLD_KEY)
    document = configuration(simulator, kafka=kafka, prefix=prefix)
    name = "CONNECTOR_CONNECTIONS__DEFAULT__"
    files = {f"{name}API_KEY_FILE": "api-key", f"{name}API_SECRET_FILE": "api-secret"}
    return document, {variable: str(folder / file) for variable, file in files.items()}


def write_key(folder: Path, key: ApiKey) -> None:
    (folder / "api-key").write_text(key.sid)
    (folder / "api-secret").write_text(key.secret + "\n")


@pytest.mark.parametrize("is_told", [True, False])
async def test_an_api_key_that_is_replaced_is_read_from_its_files_on_a_signal_and_after_a_401(
    kafka: str, prefix: str, tmp_path: Path, *, is_told: bool
) -> None:
    async with Simulator(seed=1, accounts=[Account(api_keys=(OLD_KEY, NEW_KEY))]) as simulator:
        document, environment = keyed(simulator, tmp_path, kafka, prefix)
        async with running(document, tmp_path, environment=environment) as (process,):
            assert await send(kafka, prefix, 1) == ["succeeded"]
            write_key(tmp_path, NEW_KEY)
            if is_told:
                process.send_signal(signal.SIGHUP)
                await process.wait_for_log("secrets renewed")
            simulator.state.add_account(Account(api_keys=(NEW_KEY,)))
            assert await send(kafka, prefix, 2) == ["succeeded"] * 2
    # Standard keys may not read their account, which is asked at the start for Twilio's time.
    refused = [entry.status for entry in simulator.journal if entry.status == 401 and entry.method == "POST"]
    assert len(refused) == (0 if is_told else 1)
    assert process.log.count("secrets renewed") == 1
    assert process.process is not None


async def test_a_secret_that_cannot_be_read_leaves_the_one_that_is_known_in_use(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    async with Simulator(seed=1, accounts=[Account(api_keys=(OLD_KEY,))]) as simulator:
        document, environment = keyed(simulator, tmp_path, kafka, prefix)
        async with running(document, tmp_path, environment=environment) as (process,):
            (tmp_path / "api-secret").unlink()
            process.send_signal(signal.SIGHUP)
            await process.wait_for_log("secrets not renewed")
            assert await send(kafka, prefix, 1) == ["succeeded"]
    assert OLD_KEY.secret not in process.log


# --- the console ------------------------------------------------------------------------------------------------------
async def test_a_new_admin_token_opens_the_console_after_a_signal_and_ends_the_sessions_of_the_old_one(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    file = tmp_path / "admin-token"
    file.write_text("the-first")
    document = configuration(simulator, kafka=kafka, prefix=prefix)
    environment = {"CONNECTOR_ADMIN__TOKEN_FILE": str(file)}
    jar = aiohttp.CookieJar(unsafe=True)
    started = running(document, tmp_path, environment=environment)
    async with started as (process,), aiohttp.ClientSession(cookie_jar=jar) as session:
        await session.post(f"{process.admin}/login", data={"token": "the-first"})
        assert await status(session, process) == 200
        file.write_text("the-second")
        process.send_signal(signal.SIGHUP)
        await process.wait_for_log("secrets renewed")
        assert await status(session, process) == 401
        assert await status(session, process, "the-first") == 401
        assert await status(session, process, "the-second") == 200


async def status(session: aiohttp.ClientSession, process: Connector, token: str = "") -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with session.get(f"{process.admin}/api/overview", headers=headers) as answer:
        return answer.status


# --- Kafka ------------------------------------------------------------------------------------------------------------
NEW_PASSWORD = "the-second-password"


class Password:
    """A password of SCRAM in a file."""

    def __init__(self, kafka: SecureKafka, folder: Path) -> None:
        self.kafka = kafka
        self.file = folder / "password"
        self.file.write_text(PASSWORD)
        self.environment = {"CONNECTOR_KAFKA__SASL__PASSWORD_FILE": str(self.file)}
        self.section = kafka.over_sasl(password=None)

    def change_at_the_broker(self) -> None:
        """What a new connection must have from now on."""
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        change = UserScramCredentialUpsertion(USER, info, NEW_PASSWORD.encode())
        admin = AdminClient({"bootstrap.servers": self.kafka.open_address})
        admin.alter_user_scram_credentials([change])[USER].result(timeout=20)

    def change_here(self) -> None:
        """What we are known by."""
        self.file.write_text(NEW_PASSWORD)


class Certificate:
    """A certificate, its key and the authority in files."""

    def __init__(self, kafka: SecureKafka, folder: Path) -> None:
        self.kafka = kafka
        self.mine, self.later = folder / "mine", folder / "later"
        for made in (self.mine, self.later):
            made.mkdir()
        self.environment: dict[str, str] = {}
        self._write(kafka.authority)
        files = Identity(self.mine / "cert", self.mine / "key")
        self.section = kafka.over_tls(files, ca_file=self.mine / "ca")
        self.new = Authority(self.later)

    def _write(self, authority: Authority) -> None:
        identity = authority.identity(USER)
        sources = {"ca": authority.ca_file, "cert": identity.cert_file, "key": identity.key_file}
        for name, source in sources.items():
            (self.mine / name).write_bytes(source.read_bytes())

    def change_at_the_broker(self) -> None:
        """Another authority, for the broker itself and for who comes, as of the broker's restart."""
        old = self.kafka.authority
        server = self.new.identity("broker")
        (old.folder / "keystore.pem").write_bytes(server.key_file.read_bytes() + server.cert_file.read_bytes())
        old.ca_file.write_bytes(self.new.ca_file.read_bytes())

    def change_here(self) -> None:
        """What we are known by, and whom we trust."""
        self._write(self.new)


@pytest.fixture
async def secured(tmp_path: Path) -> AsyncIterator[SecureKafka]:
    """A broker that may be restarted."""
    folder = tmp_path / "broker"
    folder.mkdir()
    authority = Authority(folder)
    broker = secure_broker(authority)
    yield SecureKafka(await broker.start(), authority)
    await broker.stop(gracefully=False)


async def restart(kafka: SecureKafka, between: Callable[[], object]) -> None:
    """Every connection to the broker ends, and new ones find what has changed meanwhile."""
    node = kafka.broker.nodes[0]
    await node.kill()
    await asyncio.to_thread(between)
    await node.start()
    await node.ready()


@pytest.mark.parametrize("kind", [Password, Certificate])
@pytest.mark.parametrize("is_told", [True, False])
async def test_what_kafka_knows_us_by_is_read_from_its_files_on_a_signal_and_when_kafka_refuses_us(
    secured: SecureKafka,
    simulator: Simulator,
    tmp_path: Path,
    kind: type[Password | Certificate],
    *,
    is_told: bool,
) -> None:
    known_by = kind(secured, tmp_path)
    document = configuration(simulator, kafka="", prefix="secrets")
    document["kafka"] |= known_by.section
    async with running(document, tmp_path, environment=known_by.environment) as (process,):
        assert await send(secured.open_address, "secrets", 1) == ["succeeded"]
        if kind is Password:
            await asyncio.to_thread(known_by.change_at_the_broker)
        if is_told:
            known_by.change_here()
            process.send_signal(signal.SIGHUP)
            await process.wait_for_log("secrets renewed")
        await restart(secured, known_by.change_at_the_broker if kind is Certificate else lambda: None)
        if not is_told:
            await process.wait_for_log("kafka does not answer")
            known_by.change_here()
        assert await send(secured.open_address, "secrets", 2) == ["succeeded"] * 2
        assert await process.stop() == 0
    assert PASSWORD not in process.log
    assert NEW_PASSWORD not in process.log


# --- files that change without a signal ---
async def test_a_change_of_a_file_is_seen_however_it_is_made(tmp_path: Path) -> None:
    """Written anew, replaced, removed, and by the link that Kubernetes moves."""
    file, mounted = tmp_path / "token", tmp_path / "mounted"
    for version in ("1", "2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "token").write_text(f"same length {version}")
    file.write_text("one")
    mounted.symlink_to(tmp_path / "1")
    seen = changes([file, mounted / "token", tmp_path / "never"], look_seconds=0.02, quiet_seconds=0.01)
    looking: asyncio.Task[None] | None = None

    def replaced() -> None:
        (tmp_path / "new").write_text("two")
        (tmp_path / "new").replace(file)

    def moved() -> None:
        (tmp_path / "link").symlink_to(tmp_path / "2")
        (tmp_path / "link").replace(mounted)

    try:
        for change in (lambda: file.write_text("longer"), replaced, moved, file.unlink):
            looking = asyncio.create_task(anext(seen))  # type: ignore[arg-type]  # an awaitable of the generator
            await asyncio.sleep(0)
            change()
            async with asyncio.timeout(10):
                await looking
    finally:
        await seen.aclose()  # type: ignore[attr-defined]  # it is a generator


async def test_a_secret_in_a_file_is_renewed_without_a_signal(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("the-first-token")
    environ = {
        "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
        "TWILIO_AUTH_TOKEN_FILE": str(token),
        "CONNECTOR_CONFIG": str(tmp_path / "none.yaml"),
    }
    (tmp_path / "none.yaml").write_text("{}")
    loaded = load_with_origins(environ=environ)
    assert secret_files(loaded) == (token,)
    renewed: list[str | None] = []

    def apply(found: Loaded, _former_seconds: float) -> None:
        secret = found.settings.connections["default"].auth_token
        renewed.append(secret.get_secret_value() if secret else None)

    watching = asyncio.create_task(Secrets(loaded.settings, loaded, apply, look_seconds=0.02).watch())
    await asyncio.sleep(0)
    token.write_text("the-second-token\n")
    await until(lambda: renewed == ["the-second-token"])
    watching.cancel()
