"""Kafka with TLS, SASL and client certificates: the real process and a broker that trusts nobody."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from aiohttp import web
from pydantic import SecretStr

from connector.kafka.credentials import Tokens, TokenUnavailable
from connector.kafka.diagnosis import cause
from connector.settings import KafkaSettings, SaslSettings
from connector.simulator import Simulator
from tests.producing import Message, produce
from tests.running import Connector, configuration, running, until, values, wait_for_records
from tests.secure_kafka import PASSWORD, USER, Authority, Identity, SecureKafka, secure_kafka, unsecured_token

PHONE = "+15551234567"
COMMAND = {"to": "+15557654321", "from": PHONE, "body": "Hello"}


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    """The broker."""
    with secure_kafka(tmp_path_factory.mktemp("secure-kafka")) as kafka:
        yield kafka


def section(secured: SecureKafka, name: str) -> dict[str, Any]:
    """The section `kafka` of a way to connect."""
    if name == "mTLS":
        return secured.over_tls(secured.authority.identity(USER))
    if name == "OAUTHBEARER":
        return secured.over_sasl(name, user=None, password=unsecured_token(USER))
    if name == "SCRAM-SHA-512 without TLS":
        return secured.over_sasl(protocol="SASL_PLAINTEXT")
    return secured.over_sasl(name)


@pytest.mark.parametrize("name", ["SCRAM-SHA-512", "mTLS"])
async def test_the_whole_main_job_runs_over(
    secured: SecureKafka, prefix: str, simulator: Simulator, tmp_path: Path, name: str
) -> None:
    document = configuration(
        simulator,
        kafka="",
        prefix=prefix,
        watches=[{"resource": "messages", "interval": "300ms"}],
    )
    document["kafka"] |= section(secured, name)
    kafka = secured.open_address
    async with running(document, tmp_path) as (process,):
        await process.wait_for_log("watch starts anew")
        await asyncio.to_thread(produce, kafka, [Message(f"{prefix}.commands.send-message", COMMAND, "k")])
        (result,) = values(await wait_for_records(kafka, f"{prefix}.results.send-message", 1))
        statuses = values(await wait_for_records(kafka, f"{prefix}.message-status", 2))
        (watched,) = values(await wait_for_records(kafka, f"{prefix}.messages", 1))
    assert result["outcome"] == "succeeded"
    assert watched["sid"] == result["bundles"][0]["sid"] == statuses[0]["message_sid"]


@pytest.mark.parametrize("name", ["PLAIN", "SCRAM-SHA-256", "OAUTHBEARER", "SCRAM-SHA-512 without TLS"])
async def test_topics_are_created_over(
    secured: SecureKafka, prefix: str, simulator: Simulator, tmp_path: Path, name: str
) -> None:
    document = configuration(simulator, kafka="", prefix=prefix)
    document["kafka"] |= section(secured, name)
    process = Connector(document, tmp_path)
    await process.apply_topics()


# --- what is wrong, in one sentence -----------------------------------------------------------------------------------
async def ended(document: dict[str, Any], folder: Path) -> tuple[int, str]:
    """Exit code and last words of a process that cannot start."""
    process = await Connector(document, folder).start(ready=False, afresh=True)
    assert process.process is not None
    async with asyncio.timeout(30):
        code = await process.process.wait()
    return code, process.log.strip()


async def test_a_wrong_password_ends_the_start_with_69_and_says_which_line_to_correct(
    secured: SecureKafka, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    document = configuration(simulator, kafka="", prefix=prefix)
    document["kafka"] |= secured.over_sasl(password="wrong-" + PASSWORD)
    code, log = await ended(document, tmp_path)
    assert code == 69
    address = secured.broker.address("SASL_SSL")
    assert log.startswith(f"{tmp_path}/connector.yaml:")
    assert log.endswith(
        f"kafka.sasl.password: {address} refuses user '{USER}' (SCRAM-SHA-512): correct username and password."
    )
    assert PASSWORD not in log


async def test_a_certificate_of_another_authority_ends_the_start_with_69_and_says_so(
    secured: SecureKafka, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    document = configuration(simulator, kafka="", prefix=prefix)
    stranger = Authority(tmp_path, "Stranger").identity(USER)
    document["kafka"] |= secured.over_tls(stranger)
    code, log = await ended(document, tmp_path)
    assert code == 69
    assert f"kafka.tls.cert_file: {secured.broker.address('SSL')} refuses the certificate '{stranger.cert_file}'" in log
    assert "signed by an authority that the broker trusts" in log


async def test_a_key_that_is_not_the_certificates_ends_the_start_with_78(
    secured: SecureKafka, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    document = configuration(simulator, kafka="", prefix=prefix)
    good, other = secured.authority.identity(USER), Authority(tmp_path, "Stranger").identity("other")
    document["kafka"] |= secured.over_tls(Identity(good.cert_file, other.key_file))
    code, log = await ended(document, tmp_path)
    assert code == 78
    assert "kafka.tls.key_file: " in log
    assert "KEY_VALUES_MISMATCH" in log
    assert "Traceback" not in log


CAUSES: list[tuple[str, str, str]] = [
    ("no client certificate", "kafka.tls.cert_file", "asks for a client certificate"),
    ("expired certificate", "kafka.tls.cert_file", "refuses the certificate"),
    ("unknown authority", "kafka.tls.ca_file", "is not trusted (unable to get local issuer certificate)"),
    ("TLS to plaintext", "kafka.security_protocol", "does not speak SSL"),
    ("plaintext to TLS", "kafka.security_protocol", "does not speak PLAINTEXT"),
    ("SASL to plaintext", "kafka.security_protocol", "does not speak SASL_PLAINTEXT"),
    ("plaintext to SASL", "kafka.security_protocol", "does not speak PLAINTEXT"),
    ("unknown user", "kafka.sasl.password", "refuses user 'nobody'"),
    ("token of yesterday", "kafka.sasl.password", "refuses the bearer token"),
    ("no token endpoint", "kafka.sasl.token_url", "cannot be asked"),
    ("nobody listens", "kafka.bootstrap_servers", "does not answer"),
    ("no such host", "kafka.bootstrap_servers", "is no known host"),
]


def broken(secured: SecureKafka, folder: Path) -> dict[str, dict[str, Any]]:
    """Sections that do not work, by what is wrong."""
    good = secured.authority.identity(USER)
    open_sasl, sasl_ssl = secured.broker.address("SASL_PLAINTEXT"), secured.broker.address("SASL_SSL")
    return {
        "no client certificate": secured.over_tls(None),
        "expired certificate": secured.over_tls(secured.authority.identity("expired", days=-1)),
        "unknown authority": secured.over_tls(good, ca_file=Authority(folder, "Other").ca_file),
        "TLS to plaintext": {**secured.over_tls(good), "bootstrap_servers": secured.open_address},
        "plaintext to TLS": {"bootstrap_servers": sasl_ssl},
        "SASL to plaintext": {
            **secured.over_sasl(protocol="SASL_PLAINTEXT"),
            "bootstrap_servers": secured.open_address,
        },
        "plaintext to SASL": {"bootstrap_servers": open_sasl},
        "unknown user": secured.over_sasl(user="nobody"),
        "token of yesterday": secured.over_sasl(
            "OAUTHBEARER", user=None, password=unsecured_token(USER, seconds=-86_400)
        ),
        "no token endpoint": secured.over_sasl("OAUTHBEARER", token_url="http://127.0.0.1:1/token"),
        "nobody listens": {"bootstrap_servers": "127.0.0.1:1"},
        "no such host": {"bootstrap_servers": "kafka.invalid:9092"},
    }


async def test_each_reason_why_a_broker_cannot_be_used_names_its_key(secured: SecureKafka, tmp_path: Path) -> None:
    sections = broken(secured, tmp_path)
    for name, path, part in CAUSES:
        found = await cause(KafkaSettings.model_validate(sections[name]))
        assert found is not None, name
        assert (".".join(found.path), part in found.sentence) == (path, True), (name, found)
        assert str(found).endswith("."), name
    assert {name for name, _, _ in CAUSES} == set(sections)
    assert await cause(KafkaSettings.model_validate(secured.over_sasl())) is None


# --- bearer tokens ----------------------------------------------------------------------------------------------------
class TokenEndpoint:
    """An OAuth 2.0 server that knows one client."""

    def __init__(self, *, life: float = 600.0) -> None:
        self.life = life
        self.requests: list[tuple[str, str]] = []
        self.answering = True

    async def handle(self, request: web.BaseRequest) -> web.Response:
        form = dict(parse_qsl(await request.text()))
        self.requests.append((request.headers.get("Authorization", ""), form.get("scope", "")))
        if not self.answering or form.get("grant_type") != "client_credentials":
            return web.json_response({"error": "invalid_client"}, status=401)
        return web.json_response({"access_token": unsecured_token(USER), "expires_in": self.life})


@asynccontextmanager
async def token_endpoint(**options: float) -> AsyncIterator[tuple[TokenEndpoint, str]]:
    endpoint = TokenEndpoint(**options)
    runner = web.ServerRunner(web.Server(endpoint.handle))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield endpoint, f"http://127.0.0.1:{runner.addresses[0][1]}/token"
    finally:
        await runner.cleanup()


async def test_tokens_are_fetched_with_the_client_credentials_once_for_all_connections(
    secured: SecureKafka, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    async with token_endpoint() as (endpoint, url):
        document = configuration(simulator, kafka="", prefix=prefix)
        document["kafka"] |= secured.over_sasl("OAUTHBEARER", token_url=url, scope="kafka write")
        process = Connector(document, tmp_path)
        await process.apply_topics()
        assert await cause(process.settings.kafka) is None
    pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    assert endpoint.requests == [(f"Basic {pair}", "kafka write")]


async def test_a_token_is_renewed_before_its_end_and_kept_while_the_endpoint_is_away() -> None:
    async with token_endpoint(life=1.0) as (endpoint, url):
        tokens = Tokens()
        tokens.use(SaslSettings(mechanism="OAUTHBEARER", username="id", password=SecretStr("s"), token_url=url))
        first = await tokens.token()
        assert await tokens.token() == first
        assert len(endpoint.requests) == 1
        endpoint.answering = False
        began = time.monotonic()
        while time.monotonic() < began + 0.9 and len(endpoint.requests) == 1:
            assert await tokens.token() == first
            await asyncio.sleep(0.01)
        assert len(endpoint.requests) >= 2
        await until(lambda: time.monotonic() > began + 1.1)
        with pytest.raises(TokenUnavailable, match="answers 401 to the client id 'id'"):
            await tokens.token()


async def test_credentials_do_not_follow_a_redirect() -> None:
    async with token_endpoint() as (elsewhere, other):

        async def redirect(_request: web.BaseRequest) -> web.Response:
            return web.Response(status=307, headers={"Location": other})

        runner = web.ServerRunner(web.Server(redirect))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/token"
        tokens = Tokens()
        tokens.use(SaslSettings(mechanism="OAUTHBEARER", username="id", password=SecretStr("s"), token_url=url))
        with pytest.raises(TokenUnavailable, match="answers 307"):
            await tokens.token()
        await runner.cleanup()
    assert elsewhere.requests == []
