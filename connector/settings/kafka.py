"""The section `kafka`: where the broker is, how to speak to it, how topics are named and made."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr

from connector.settings.section import Address, Finding, Matches, Section, asked, split_list
from connector.settings.units import Duration

Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "GSSAPI"]


def _joined(value: Any) -> Any:
    servers = split_list(value)
    return ",".join(str(server) for server in servers) if isinstance(servers, list | tuple) else value


_SERVER = r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}"
Servers = Annotated[
    str,
    Matches(rf"{_SERVER}(?:,{_SERVER})*", "is not a list of brokers: write host:port, several separated by commas"),
    BeforeValidator(_joined),
]
Prefix = Annotated[
    str,
    Matches(
        r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,198}[A-Za-z0-9])?",
        "cannot begin the names of topics: use letters, digits, dots and hyphens, no underscore",
    ),
]


_NEEDED: dict[Mechanism, tuple[str, ...]] = {
    "PLAIN": ("username", "password"),
    "SCRAM-SHA-256": ("username", "password"),
    "SCRAM-SHA-512": ("username", "password"),
    "OAUTHBEARER": ("password",),
    "GSSAPI": (),
}


class SaslSettings(Section):
    """How the broker knows who we are."""

    mechanism: Mechanism = Field(description="The broker's SASL mechanism; GSSAPI takes the ticket of the system.")
    username: str | None = Field(
        default=None, min_length=1, description="User name, for PLAIN and SCRAM; with `token_url` the client id."
    )
    password: SecretStr | None = Field(
        default=None,
        description="Password, for PLAIN and SCRAM; for OAUTHBEARER the bearer token, or with `token_url` the client "
        "secret.",
    )
    token_url: Address | None = Field(
        default=None, description="OAUTHBEARER: where tokens are fetched with the client credentials grant (RFC 6749)."
    )
    scope: str | None = Field(default=None, min_length=1, description="OAUTHBEARER with `token_url`: scope to ask for.")

    def findings(self) -> Iterator[Finding]:
        """Each mechanism needs its credentials; a token address belongs to OAUTHBEARER."""
        return asked(self._needs("username"), self._needs("password"), self._token_address(), self._scope())

    def _needs(self, name: str) -> Iterator[Finding]:
        needed = ("username", "password") if self.token_url else _NEEDED[self.mechanism]
        if name in needed and getattr(self, name) is None:
            yield Finding((name,), f"is missing: {'token_url' if self.token_url else self.mechanism} needs it")

    def _token_address(self) -> Iterator[Finding]:
        if self.mechanism != "OAUTHBEARER" and self.token_url is not None:
            yield Finding(("token_url",), f"belongs to OAUTHBEARER, not to {self.mechanism}: remove it")

    def _scope(self) -> Iterator[Finding]:
        if self.scope is not None and self.token_url is None:
            yield Finding(("scope",), "is asked of a token_url, and there is none: give it, or remove scope")


class TlsSettings(Section):
    """Certificates for SSL and SASL_SSL; without them the system's authorities are trusted."""

    ca_file: Path | None = Field(default=None, description="PEM file of the authorities that sign the brokers.")
    cert_file: Path | None = Field(default=None, description="PEM file of our own certificate, for mutual TLS.")
    key_file: Path | None = Field(default=None, description="PEM file of its key, when it is not in `cert_file`.")
    key_password: SecretStr | None = Field(default=None, description="Password of the key.")

    def findings(self) -> Iterator[Finding]:
        """A key is of use only with a certificate."""
        return asked(self._without_certificate("key_file"), self._without_certificate("key_password"))

    def _without_certificate(self, name: str) -> Iterator[Finding]:
        if self.cert_file is None and getattr(self, name) is not None:
            yield Finding((name,), "is given without cert_file: give the certificate as well, or remove it")


class RegistrySettings(Section):
    """A schema registry with Confluent's API."""

    url: Address = Field(description="Its address; https, http only for loopback or with `development: true`.")
    username: str | None = Field(default=None, min_length=1, description="User name, or API key.")
    password: SecretStr | None = Field(default=None, description="Password, or the key's secret.")

    def findings(self) -> Iterator[Finding]:
        """User name and password go together."""
        return asked(self._half("username", "password"), self._half("password", "username"))

    def _half(self, name: str, other: str) -> Iterator[Finding]:
        if getattr(self, name) is None and getattr(self, other) is not None:
            yield Finding((name,), f"is missing: {other} is of no use without it")


class KafkaSettings(Section):
    """The broker and the topics."""

    bootstrap_servers: Servers = Field(
        default="localhost:9092", description="Brokers to begin with, host:port, several separated by commas."
    )
    topic_prefix: Prefix = Field(default="twilio", description="What the names of all topics begin with.")
    partitions: int = Field(
        default=6, ge=1, le=10_000, description="Of every topic; command topics and journal must agree."
    )
    replication_factor: int = Field(
        default=3, ge=1, le=100, description="Copies of each partition that `topics apply` asks for; 1 in development."
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="How the connection is encrypted and authenticated."
    )
    sasl: SaslSettings | None = Field(default=None, description="Authentication, with the two SASL protocols.")
    tls: TlsSettings | None = Field(default=None, description="Certificates, with the two SSL protocols.")
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = Field(
        default="none", description="Of the records that we write."
    )
    envelope: Literal["binary", "structured"] = Field(
        default="binary", description="CloudEvents mode: binary (headers) or structured (one JSON document)."
    )
    schema_registry: RegistrySettings | None = Field(
        default=None,
        description="Where schemas are registered at the start; records carry their ids in headers then. Needs the "
        "extra `registry`.",
    )
    session_timeout: Duration = Field(
        default=timedelta(seconds=10),
        ge=timedelta(seconds=1),
        le=timedelta(minutes=5),
        description="After so long without a sign of life the group gives a process's partitions to others; the "
        "broker's group.min.session.timeout.ms and group.max.session.timeout.ms bound it.",
    )

    def findings(self) -> Iterator[Finding]:
        """`sasl` and `tls` go with the protocols that use them."""
        return asked(self._authentication(), self._encryption(), self._registry())

    def _authentication(self) -> Iterator[Finding]:
        protocol = self.security_protocol
        if protocol.startswith("SASL") and self.sasl is None:
            yield Finding(("sasl",), f"is missing: {protocol} needs mechanism, username and password")
        if not protocol.startswith("SASL") and self.sasl is not None:
            yield Finding(("sasl",), _unused(protocol, "SASL_SSL or SASL_PLAINTEXT"))

    def _encryption(self) -> Iterator[Finding]:
        if not self.security_protocol.endswith("SSL") and self.tls is not None:
            yield Finding(("tls",), _unused(self.security_protocol, "SSL or SASL_SSL"))

    def _registry(self) -> Iterator[Finding]:
        if self.schema_registry is not None and self.envelope == "structured":
            sentence = "holds schemas of bare values, and structured ones are CloudEvents: set envelope to binary"
            yield Finding(("schema_registry",), sentence)


def _unused(protocol: str, fitting: str) -> str:
    return f"would not be used with security_protocol {protocol}: set that to {fitting}, or remove this"
