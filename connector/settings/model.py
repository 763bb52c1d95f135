"""All settings: their types, units, bounds and defaults. What takes more than one section is checked here."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from connector.resources.hosts import PRODUCTS
from connector.settings.connections import Connection, ConnectionName
from connector.settings.kafka import KafkaSettings
from connector.settings.lists import LIST
from connector.settings.section import (
    Credential,
    Finding,
    Matches,
    Path,
    Port,
    PublicAddress,
    Section,
    Split,
    Unusable,
    asked,
    is_loopback,
    is_open_http,
)
from connector.settings.units import Duration, Size
from connector.settings.watches import WatchSettings, default_watches

Role = Literal["watch", "callbacks", "commands"]
SHORTEST_TOKEN = 16
ROLES: tuple[Role, ...] = ("watch", "callbacks", "commands")

Host = Annotated[str, Matches(r"[A-Za-z0-9.:_-]+|\[[0-9A-Fa-f:.]+\]", "is not a host to listen on: write 0.0.0.0, say")]
TopicPattern = Annotated[
    str,
    Matches(
        r"[A-Za-z0-9._*?\[\]!-]+",
        "is not a pattern of topics: use the characters of topic names, * for any text and ? for one character",
    ),
]
_OVERRIDE = "(?:ct|rt|tt|rc|rp|sni|e)=[A-Za-z0-9,-]+"
Overrides = Annotated[
    str,
    Matches(
        f"(?:{_OVERRIDE}(?:&{_OVERRIDE})*)?",
        "is not what Twilio reads in a fragment: write key=value joined by &, keys ct, rt, tt, rc, rp, sni and e, "
        "such as rc=5&rp=all",
    ),
    BeforeValidator(lambda value: "" if value is None else value),
]


def _store(text: str) -> str:
    if "@" in text:
        raise ValueError("the store's address holds credentials: leave them to the environment of the cloud's client")
    if text != "kafka" and not re.fullmatch(r"(?:s3|gs|az)://[^/\s]+(?:/\S*)?|file:///\S+", text):
        raise ValueError(f"{text!r} is no store: write kafka, s3://bucket/prefix, gs://…, az://… or file:///folder")
    return text.rstrip("/")


class CallbackSettings(Section):
    """The public port that Twilio calls."""

    host: Host = Field(default="0.0.0.0", description="Interface to listen on.")  # noqa: S104  # Twilio comes from outside
    port: Port = Field(default=8080, description="Port to listen on; 0 lets the system choose.")
    public_url: PublicAddress | None = Field(
        default=None,
        description="What Twilio calls, in front of every proxy: the base of every signature check and of the callback "
        "URLs that we hand to Twilio. https, http only for loopback or with `development: true`.",
    )
    verify_signatures: bool = Field(default=True, description="May be false only with `development: true`.")
    connection_overrides: Overrides = Field(
        default="rc=3",
        description="Appended as a fragment to the callback URLs that we hand to Twilio, which sets its retries; empty "
        "to disable.",
    )
    max_body: Size = Field(
        default=65_536,
        ge=1024,
        le=16 * 1024**2,
        json_schema_extra={"default": "64KiB"},
        description="Larger bodies are answered with 413, longer addresses (GET) with 414.",
    )


class CommandSettings(Section):
    """How commands are executed."""

    max_in_flight: int = Field(default=256, ge=1, le=100_000, description="Commands at a time, per process.")
    in_doubt: Literal["report", "resend"] = Field(
        default="report",
        description="When reconciliation cannot find the result of an ambiguous create: `report` outcome unknown, or "
        "`resend`, at the risk of executing it twice.",
    )
    settle_time: Duration = Field(
        default=timedelta(seconds=30),
        le=timedelta(hours=1),
        description="How long Twilio's lists may lag behind a create.",
    )
    request_timeout: Duration = Field(
        default=timedelta(seconds=10),
        ge=timedelta(milliseconds=100),
        le=timedelta(minutes=5),
        description="How long one request of a command to Twilio may take, connecting included; after it a create is "
        "in doubt.",
    )
    dedupe_window: Duration = Field(
        default=timedelta(hours=1),
        le=timedelta(days=7),
        description="An explicit command id seen within it is not executed again; at most the journal's 7 days.",
    )
    reply_topics: Annotated[tuple[TopicPattern, ...], Split] = Field(
        default=(), description="Patterns (* and ?) of the topics that a `reply-to` header may name."
    )
    recording_store: Annotated[str, AfterValidator(_store)] = Field(
        default="kafka",
        description="Where download-recording puts media: kafka, or s3://bucket/prefix, gs://…, az://…, file:///folder.",
    )


class AdminSettings(Section):
    """The private port: health, metrics, console."""

    host: Host = Field(default="127.0.0.1", description="Interface to listen on.")
    port: Port = Field(default=9090, description="Port to listen on; 0 lets the system choose.")
    token: Credential | None = Field(
        default=None,
        description="Bearer token of the console and its data; required, and of 16 characters at least, when host is "
        "not loopback.",
    )

    def findings(self) -> Iterator[Finding]:
        """A port that others can reach needs a token that cannot be guessed."""
        return asked(self._open_port())

    def _open_port(self) -> Iterator[Finding]:
        if is_loopback(self.host):
            return
        if self.token is None:
            sentence = f"is missing: others can reach host {self.host}; give one, or listen on 127.0.0.1"
            yield Finding(("token",), sentence)
        elif len(self.token.get_secret_value()) < SHORTEST_TOKEN:
            sentence = (
                f"is shorter than {SHORTEST_TOKEN} characters, and others can reach host {self.host}: give one that "
                "cannot be guessed, such as openssl rand -hex 24 prints, or listen on 127.0.0.1"
            )
            yield Finding(("token",), sentence)


class LogSettings(Section):
    """What is logged, and how it looks."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="The least level logged.")
    format: Literal["auto", "console", "json"] = Field(
        default="auto", description="auto: console on a terminal, JSON lines otherwise."
    )


def _default_watches(known: dict[str, Any]) -> tuple[WatchSettings, ...]:
    return default_watches(known["connections"])


def _default_roles(known: dict[str, Any]) -> tuple[Role, ...]:
    """Without an address that Twilio calls there are no signatures to check and no callbacks to wait for."""
    callbacks: CallbackSettings = known["callbacks"]
    try:
        waits = callbacks.public_url is not None or not callbacks.verify_signatures
    except Unusable:
        waits = True
    return ROLES if waits else ("watch", "commands")


class Settings(Section):
    """Everything that can be configured."""

    development: bool = Field(
        default=False, description="Allows unverified callbacks and http:// addresses that are not loopback."
    )
    kafka: KafkaSettings = Field(default=KafkaSettings(), description="The broker and the topics.")
    connections: dict[ConnectionName, Connection] = Field(
        default={}, description="Twilio accounts and subaccounts by a name of your choice; `default` is the usual one."
    )
    watches: tuple[WatchSettings, ...] = Field(
        default_factory=_default_watches,
        description="Lists to poll. Default: the five resources of all connections; an empty list is none.",
    )
    callbacks: CallbackSettings = Field(default=CallbackSettings(), description="The public port that Twilio calls.")
    roles: Annotated[tuple[Role, ...], Split] = Field(
        default_factory=_default_roles,
        min_length=1,
        description="What this process does. Default: watch, commands; callbacks if `callbacks.public_url` is set.",
    )
    commands: CommandSettings = Field(default=CommandSettings(), description="How commands are executed.")
    admin: AdminSettings = Field(default=AdminSettings(), description="The private port: health, metrics, console.")
    log: LogSettings = Field(default=LogSettings(), description="What is logged, and how it looks.")
    shutdown_grace: Duration = Field(
        default=timedelta(seconds=25),
        ge=timedelta(seconds=1),
        le=timedelta(hours=1),
        description="From SIGTERM to the exit: what is in flight is finished within it.",
    )

    def topic(self, name: str) -> str:
        """The full name of one of our topics: `messages` is `twilio.messages`."""
        return f"{self.kafka.topic_prefix}.{name}"

    def findings(self) -> Iterator[Finding]:
        """Rules between sections."""
        names = Counter[str]()
        owners: dict[str, str] = {}
        connections = self.__dict__.get("connections", {})
        return asked(
            *(self._one_connection_an_account(name, owners) for name in connections),
            *(self._watch(position, names) for position in range(len(self.__dict__.get("watches", ())))),
            *(self._open_address(*address) for address in _addresses(connections)),
            self._unverified(),
            self._ports(),
            self._public_url(),
            *(self._signing(name) for name in connections),
        )

    def _one_connection_an_account(self, name: str, owners: dict[str, str]) -> Iterator[Finding]:
        owner = owners.setdefault(self.connections[name].account_sid.lower(), name)
        if owner != name:
            sentence = f"is the account of connection {owner!r} as well: keep one connection for each account"
            yield Finding(("connections", name, "account_sid"), sentence)

    def _watch(self, position: int, names: Counter[str]) -> Iterator[Finding]:
        watch = self.watches[position]
        names[watch.name] += 1
        if names[watch.name] > 1:
            sentence = f"{watch.name!r} is the name of another watch: give each watch a name of its own"
            yield Finding(("watches", position, "name"), sentence)
        if watch.resource == LIST:
            yield from self._one_list_a_topic(position)
            yield from self._parent(position)
        if watch.connection not in self.connections:
            known = ", ".join(self.connections) or "there are none"
            sentence = f"{watch.connection!r} is not a connection: name one of connections ({known})"
            yield Finding(("watches", position, "connection"), sentence)

    def parent_of(self, watch: WatchSettings) -> WatchSettings | None:
        """The watch whose rows this one's list is under."""
        return next((other for other in self.watches if other.name == watch.parent), None) if watch.parent else None

    def _parent(self, position: int) -> Iterator[Finding]:
        """A parent is a list of the same account whose rows one field names, and is under none itself."""
        watch = self.watches[position]
        parent = self.parent_of(watch)
        if watch.parent is None:
            return
        place = ("watches", position, "parent")
        if parent is None or parent is watch:
            known = ", ".join(other.name for other in self.watches if other is not watch) or "there are none"
            yield Finding(place, f"{watch.parent[:60]!r} is no other watch: name one of watches ({known})")
        elif parent.connection != watch.connection:
            yield Finding(place, f"{watch.parent!r} watches another connection: give both the same one")
        elif parent.parent is not None:
            yield Finding(place, f"{watch.parent!r} is under a parent itself: name a list that is under none")
        elif len(parent.key) > 1:
            yield Finding(place, f"{watch.parent!r} names its rows by several fields: {{parent}} stands for one alone")

    def _one_list_a_topic(self, position: int) -> Iterator[Finding]:
        """A topic has rows of one kind; the same list of another account may share it."""
        watch = self.watches[position]
        for other in self.watches[:position]:
            is_shared = other.resource == LIST and (other.topic or other.name) == (watch.topic or watch.name)
            if is_shared and (other.host, other.path, other.key) != (watch.host, watch.path, watch.key):
                sentence = f"{watch.topic or watch.name!r} is the topic of another list: give each list its own"
                yield Finding(("watches", position, "topic" if watch.topic else "name"), sentence)

    def _open_address(self, path: Path, what: str) -> Iterator[Finding]:
        value: Any = self
        for segment in path:
            value = value.get(segment) if isinstance(value, dict) else getattr(value, str(segment), None)
        if is_open_http(value) and not self.development:
            sentence = (
                f"{value!r} would carry {what} unencrypted: use https:// "
                "(http:// is only for loopback, or with development: true)"
            )
            yield Finding(path, sentence)

    def _unverified(self) -> Iterator[Finding]:
        if not self.callbacks.verify_signatures and not self.development:
            sentence = "false would publish forged callbacks: remove it, or set development: true on a private machine"
            yield Finding(("callbacks", "verify_signatures"), sentence)

    def _ports(self) -> Iterator[Finding]:
        if "callbacks" in self.roles and self.admin.port == self.callbacks.port != 0:
            yield Finding(("admin", "port"), f"{self.admin.port} is callbacks.port as well: choose another one")

    def _public_url(self) -> Iterator[Finding]:
        if self._verifies and self.callbacks.public_url is None:
            sentence = (
                "is missing: signatures cover the address that Twilio calls; set it, or leave callbacks out of roles"
            )
            yield Finding(("callbacks", "public_url"), sentence)

    def _signing(self, name: str) -> Iterator[Finding]:
        connection = self.connections[name]
        if self._verifies and not connection.signing_tokens and not connection.shared_keys:
            sentence = "is missing: callbacks are verified with it; give it, or leave callbacks out of roles"
            yield Finding(("connections", name, "auth_token"), sentence)

    @property
    def _verifies(self) -> bool:
        return "callbacks" in self.roles and self.callbacks.verify_signatures


def _addresses(connections: Iterable[str]) -> Iterator[tuple[Path, str]]:
    """Where addresses stand, and what they carry."""
    for name in connections:
        yield ("connections", name, "api_url"), "credentials"
        yield ("connections", name, "monitor_url"), "credentials"
        for product in PRODUCTS:
            yield ("connections", name, "product_urls", product), "credentials"
    yield ("callbacks", "public_url"), "callbacks"
    yield ("kafka", "sasl", "token_url"), "credentials"
    yield ("kafka", "schema_registry", "url"), "credentials"
