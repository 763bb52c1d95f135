"""Which cluster answers, whether it does, and why no broker can be used.

Each is asked once more by hand, since the client keeps its reason to itself.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from connector.errors import ConfigurationError, Unavailable
from connector.kafka import aiokafka_internals, clients
from connector.kafka.clients import administration
from connector.kafka.credentials import TokenUnavailable
from connector.process.rhythm import until_next
from connector.settings import KafkaSettings
from connector.telemetry.logs import logger

log = logger(__name__)

INTERVAL_SECONDS = 2.0
PROBE_SECONDS = 3.0

ADDRESS = ("kafka", "bootstrap_servers")
PROTOCOL = ("kafka", "security_protocol")
SASL = ("kafka", "sasl")


class Cause(NamedTuple):
    """What to look at: a key of the configuration, and a sentence with what is wrong and the remedy."""

    path: tuple[str, ...]
    sentence: str

    def __str__(self) -> str:
        return f"{'.'.join(self.path)}: {self.sentence}"


async def cause(kafka: KafkaSettings) -> Cause | None:
    """Why the brokers cannot be used; None when one of them answers."""
    found: Cause | None = None
    for address in kafka.bootstrap_servers.split(","):
        error = await _attempt(kafka, address)
        if error is None:
            return None
        found = found or _explained(kafka, address, error)
    return found


async def _attempt(kafka: KafkaSettings, address: str) -> Exception | None:
    host, _, port = address.rpartition(":")
    try:
        options = clients.options(kafka)
        options.pop("bootstrap_servers")
        connection = await aiokafka_internals.create_conn(host.strip("[]"), int(port), **options)
    except (KafkaError, OSError, TimeoutError, ConfigurationError) as error:
        return error
    try:
        # A broker that does not know us may say nothing: it closes the connection at the first request, or, with a
        # bearer token that it refuses, answers without any broker.
        metadata = await connection.send(MetadataRequest([]))
        return None if metadata.brokers else KafkaError("The broker names no brokers.")
    except (KafkaError, OSError, TimeoutError) as error:
        return error
    finally:
        connection.close()


def _explained(kafka: KafkaSettings, address: str, error: Exception) -> Cause:
    for problem in _chain(error):
        for kind, explain in _EXPLANATIONS.items():
            if isinstance(problem, kind):
                return explain(kafka, address, problem)
    if kafka.sasl is not None and kafka.sasl.mechanism == "OAUTHBEARER":
        key = "token_url" if kafka.sasl.token_url else "password"
        return Cause((*SASL, key), f"{address} refuses the bearer token: it is of another issuer, or over.")
    return _other_protocol(kafka, address, error)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The exception and its causes, the innermost first."""
    found = []
    while error is not None:
        found.append(error)
        error = error.__cause__
    return reversed(found)


def _unusable(_kafka: KafkaSettings, _address: str, error: BaseException) -> Cause:
    key, _, sentence = str(error).partition(": ")
    return Cause(tuple(key.split(".")), sentence)


def _no_token(_kafka: KafkaSettings, _address: str, error: BaseException) -> Cause:
    return Cause((*SASL, "token_url"), f"{error}: correct the address, the client id or its secret.")


def _refused_user(kafka: KafkaSettings, address: str, _error: BaseException) -> Cause:
    user, mechanism = (kafka.sasl.username, kafka.sasl.mechanism) if kafka.sasl else (None, "")
    who = f"user {user!r}" if user else "our credentials"
    return Cause((*SASL, "password"), f"{address} refuses {who} ({mechanism}): correct username and password.")


def _unknown_mechanism(kafka: KafkaSettings, address: str, _error: BaseException) -> Cause:
    mechanism = kafka.sasl.mechanism if kafka.sasl else ""
    return Cause((*SASL, "mechanism"), f"{address} does not know {mechanism}: take one of the mechanisms that it has.")


def _untrusted(_kafka: KafkaSettings, address: str, error: BaseException) -> Cause:
    said = getattr(error, "verify_message", "")
    sentence = f"the certificate of {address} is not trusted ({said}): give the file of the authority that signed it, "
    return Cause(("kafka", "tls", "ca_file"), sentence + "or correct the broker's name.")


def _of_tls(kafka: KafkaSettings, address: str, error: BaseException) -> Cause:
    reason = str(getattr(error, "reason", None) or "")
    if "ALERT" in reason:
        return _refused_certificate(kafka, address, reason)
    return _other_protocol(kafka, address, error)


def _unknown_host(_kafka: KafkaSettings, address: str, error: BaseException) -> Cause:
    said = getattr(error, "strerror", "")
    return Cause(ADDRESS, f"{address} is no known host ({said}): correct the name.")


def _silent(_kafka: KafkaSettings, address: str, _error: BaseException) -> Cause:
    return Cause(ADDRESS, f"{address} does not answer: start the broker, or correct the address.")


def _refused_certificate(kafka: KafkaSettings, address: str, reason: str) -> Cause:
    said = reason.lower().replace("_", " ")
    if kafka.tls is None or kafka.tls.cert_file is None:
        sentence = f"is missing: {address} asks for a client certificate ({said}); give one, and its key_file."
    else:
        sentence = (
            f"{address} refuses the certificate {str(kafka.tls.cert_file)!r} ({said}): give one that is valid and "
        )
        sentence += "signed by an authority that the broker trusts."
    return Cause(("kafka", "tls", "cert_file"), sentence)


def _other_protocol(kafka: KafkaSettings, address: str, _error: BaseException) -> Cause:
    sentence = f"{address} does not speak {kafka.security_protocol}, it closes the connection: "
    return Cause(PROTOCOL, sentence + "take the protocol of that listener.")


# The special before the general.
_EXPLANATIONS: Mapping[type[BaseException], Callable[[KafkaSettings, str, BaseException], Cause]] = {
    ConfigurationError: _unusable,
    TokenUnavailable: _no_token,
    SaslAuthenticationFailed: _refused_user,
    UnsupportedSaslMechanismError: _unknown_mechanism,
    IllegalSaslStateError: _other_protocol,
    ssl.SSLCertVerificationError: _untrusted,
    ssl.SSLError: _of_tls,
    socket.gaierror: _unknown_host,
    ConnectionRefusedError: _silent,
    TimeoutError: _silent,
}


async def brokers(kafka: KafkaSettings) -> tuple[int, str]:
    """How many brokers the cluster has, and its id. Raises Unavailable."""
    async with administration(kafka) as admin:
        try:
            found = await admin.describe_cluster()
        except KafkaError as error:
            raise Unavailable(clients.reason(error)) from error
    return len(found["brokers"]), str(found.get("cluster_id") or "")


class Probe:
    """Asks for the end of one partition of `topic`. `reachable` is the last answer.

    `renew` is called whenever there is none: it may read anew what Kafka knows us by.
    """

    def __init__(self, kafka: KafkaSettings, topic: str, *, renew: Callable[[], object]) -> None:
        self.reachable = False
        self._renew = renew
        self._kafka = kafka
        self._partition = TopicPartition(topic, 0)
        self._consumer: AIOKafkaConsumer | None = None

    async def run(self) -> None:
        """Ask until cancelled."""
        try:
            while True:
                await self._note(await self._ask())
                await asyncio.sleep(until_next(INTERVAL_SECONDS))
        finally:
            await self._close()

    async def _ask(self) -> bool:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                if self._consumer is None:
                    self._consumer = await clients.start(clients.reader(self._kafka))
                await self._consumer.end_offsets([self._partition])
        except (KafkaError, Unavailable, TimeoutError):
            await self._close()
            self._renew()
            return False
        return True

    async def _note(self, reachable: bool) -> None:  # noqa: FBT001 - the answer itself
        if reachable and not self.reachable:
            log.info("kafka answers")
        elif self.reachable and not reachable:
            self.reachable = False
            log.warning("kafka does not answer", reason=str(await cause(self._kafka) or "It is slow."))
        self.reachable = reachable

    async def _close(self) -> None:
        if self._consumer is not None:
            await clients.end(self._consumer)
            self._consumer = None
