"""A broker that trusts nobody: TLS, SASL, client certificates and an authorizer, with fictional users."""

import asyncio
import base64
import datetime as dt
import ipaddress
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiokafka.helpers import create_ssl_context
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from connector.dev.broker import Broker
from tests.brokers import QuickBroker

USER, PASSWORD = "connector", "fictional-password-1"
"""May everything."""
ROBOT, ROBOT_PASSWORD = "robot", "fictional-password-2"
"""May what a test allows."""

MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")
_JAAS = {
    "plain": f'plain.PlainLoginModule required user_{USER}="{PASSWORD}" user_{ROBOT}="{ROBOT_PASSWORD}";',
    "scram-sha-256": "scram.ScramLoginModule required;",
    "scram-sha-512": "scram.ScramLoginModule required;",
    "oauthbearer": 'oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";',
}


@dataclass(frozen=True)
class Identity:
    """A certificate and its key, as files."""

    cert_file: Path
    key_file: Path


class Authority:
    """A certificate authority with its files in a folder."""

    def __init__(self, folder: Path, name: str = "Authority of the tests") -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = self._signed(self._name, self._key.public_key(), is_authority=True)
        self.ca_file = folder / f"{name.replace(' ', '-')}.pem"
        self.ca_file.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, is_authority: bool = False, days: int = 10
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=20))
            .not_valid_after(now + dt.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
        )
        if is_authority:
            builder = builder.add_extension(_usage(), critical=True)
        return builder.sign(self._key, hashes.SHA256())

    def identity(self, name: str, *, days: int = 10) -> Identity:
        """A certificate of this name; with negative `days` it has expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._signed(subject, key.public_key(), days=days)
        found = Identity(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        found.cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        plain = serialization.NoEncryption()
        found.key_file.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        )
        return found


def _usage() -> x509.KeyUsage:
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    return x509.KeyUsage(
        **dict.fromkeys(names, False), key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False
    )


def properties(authority: Authority) -> dict[str, str]:
    """The broker's side of all of it. Who comes over PLAINTEXT is the broker itself, and the tests' administrator."""
    server = authority.identity("broker")
    keystore = authority.folder / "keystore.pem"
    keystore.write_bytes(server.key_file.read_bytes() + server.cert_file.read_bytes())
    return {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(keystore),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.ca_file),
        "listener.name.ssl.ssl.client.auth": "required",
        "sasl.enabled.mechanisms": ",".join(MECHANISMS),
        **{
            f"listener.name.{listener}.{mechanism}.sasl.jaas.config": f"org.apache.kafka.common.security.{module}"
            for mechanism, module in _JAAS.items()
            for listener in ("sasl_ssl", "sasl_plaintext")
        },
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:ANONYMOUS;User:{USER};User:CN={USER}",
        "transaction.state.log.load.buffer.size": "524288",
    }


def format_arguments() -> Sequence[str]:
    """The users of SCRAM."""
    found: list[str] = []
    for name, password in ((USER, PASSWORD), (ROBOT, ROBOT_PASSWORD)):
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
            found += ["--add-scram", f"{mechanism}=[name={name},password={password}]"]
    return found


@dataclass
class SecureKafka:
    """The running broker, and how clients reach it."""

    broker: Broker
    authority: Authority

    @property
    def open_address(self) -> str:
        """Where the administrator of the tests needs nothing."""
        return self.broker.bootstrap_servers

    def over_sasl(
        self,
        mechanism: str = "SCRAM-SHA-512",
        *,
        user: str | None = USER,
        password: str | None = PASSWORD,
        protocol: str = "SASL_SSL",
        **more: Any,
    ) -> dict[str, Any]:
        """The section `kafka` for a SASL mechanism."""
        sasl = {"mechanism": mechanism, "username": user, "password": password, **more}
        section: dict[str, Any] = {
            "bootstrap_servers": self.broker.address(protocol),
            "security_protocol": protocol,
            "sasl": {name: text for name, text in sasl.items() if text is not None},
        }
        return section | ({"tls": {"ca_file": str(self.authority.ca_file)}} if protocol == "SASL_SSL" else {})

    def over_tls(self, identity: Identity | None, *, ca_file: Path | None = None) -> dict[str, Any]:
        """The section `kafka` for mutual TLS."""
        mine = {"cert_file": str(identity.cert_file), "key_file": str(identity.key_file)} if identity else {}
        return {
            "bootstrap_servers": self.broker.address("SSL"),
            "security_protocol": "SSL",
            "tls": {"ca_file": str(ca_file or self.authority.ca_file), **mine},
        }


def secure_broker(authority: Authority) -> Broker:
    """A broker, not started yet, whose certificates are of this authority."""
    return QuickBroker(
        listeners=("SASL_SSL", "SASL_PLAINTEXT", "SSL"),
        properties=properties(authority),
        format_arguments=format_arguments(),
    )


@contextmanager
def secure_kafka(folder: Path) -> Iterator[SecureKafka]:
    """The broker on a thread and loop of its own."""
    authority = Authority(folder)
    broker = secure_broker(authority)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="secure-kafka", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(broker.start(), loop).result(timeout=120)
        yield SecureKafka(broker, authority)
    finally:
        asyncio.run_coroutine_threadsafe(broker.stop(gracefully=False), loop).result(timeout=30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=5)
        loop.close()


def unsecured_token(user: str, *, seconds: float = 600.0) -> str:
    """A bearer token as Kafka's unsecured validator takes it (for tests only)."""
    now = time.time()
    parts = ({"alg": "none"}, {"sub": user, "iat": now - 5, "exp": now + seconds})
    encoded = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts)
    return ".".join(encoded) + "."


def client_options(section: Mapping[str, Any]) -> dict[str, Any]:
    """The same for aiokafka's own clients, so that a test reads with something else than the connector's."""
    tls, sasl = section.get("tls"), section.get("sasl")
    found = {"bootstrap_servers": section["bootstrap_servers"], "security_protocol": section["security_protocol"]}
    if tls:
        found["ssl_context"] = create_ssl_context(
            cafile=tls["ca_file"], certfile=tls.get("cert_file"), keyfile=tls.get("key_file")
        )
    if sasl:
        found |= {
            "sasl_mechanism": sasl["mechanism"],
            "sasl_plain_username": sasl["username"],
            "sasl_plain_password": sasl["password"],
        }
    return found
