"""How clients prove who they are to Kafka, and how what SIGHUP brings reaches those that live already.

Certificates are read once and shared by all connections; new ones and passwords go into the live clients, which use
them for their next connection; bearer tokens are fetched when a connection needs one, and kept until nearly over.
"""

import asyncio
import base64
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode
from weakref import WeakSet

import orjson
from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaError

from connector.errors import ConfigurationError
from connector.kafka import aiokafka_internals
from connector.settings import KafkaSettings, SaslSettings, TlsSettings

TOKEN_SECONDS = 5.0
# Of a token's life, after which the next connection fetches another one (RFC 6749 gives `expires_in`).
FRESH_SHARE = 0.8
DEFAULT_LIFE_SECONDS = 300.0
LARGEST_ANSWER_BYTES = 64 * 1024

Outer = TypeVar("Outer", bound=aiokafka_internals.Connected)

_live: WeakSet[Any] = WeakSet()
_renewed: dict[str, KafkaSettings] = {}
_contexts: dict[tuple[Path | None, ...], ssl.SSLContext] = {}


class TokenUnavailable(KafkaError):  # type: ignore[misc]  # untyped in the library
    """The token endpoint gives no token. The message holds no secret."""


def options(kafka: KafkaSettings) -> Mapping[str, Any]:
    """The security of every client. Raises ConfigurationError for certificates that cannot be used."""
    kafka = _renewed.get(kafka.bootstrap_servers, kafka)
    uses_tls = kafka.security_protocol.endswith("SSL")
    uses_sasl = kafka.sasl is not None and kafka.security_protocol.startswith("SASL")
    return {
        "security_protocol": kafka.security_protocol,
        "ssl_context": tls_context(kafka.tls or TlsSettings()) if uses_tls else None,
        **(_sasl(kafka.sasl) if uses_sasl and kafka.sasl else {}),
    }


def noted(client: Outer) -> Outer:
    """The client itself, which hears of new secrets from now on."""
    _live.add(client)
    return client


def renew(kafka: KafkaSettings) -> None:
    """Use these secrets and certificates for every connection from now on, those of living clients included.

    Raises ConfigurationError when a certificate cannot be used: the old one stays.
    """
    if kafka.tls is not None and kafka.security_protocol.endswith("SSL"):
        # A new context: in the old one, an authority that is gone from its file would be trusted further on.
        context = _contexts[_files(kafka.tls)] = _context(kafka.tls)
        for client in _live:
            aiokafka_internals.use_context(client, context)
    _renewed[kafka.bootstrap_servers] = kafka
    if kafka.sasl is None:
        return
    tokens_of(kafka.sasl.token_url).use(kafka.sasl)
    for client in _live:
        aiokafka_internals.use_password(client, kafka.sasl.username, _text(kafka.sasl))


# --- TLS --------------------------------------------------------------------------------------------------------------
def tls_context(tls: TlsSettings) -> ssl.SSLContext:
    """One context for all connections with these files. Raises ConfigurationError."""
    files = _files(tls)
    if files not in _contexts:
        _contexts[files] = _context(tls)
    return _contexts[files]


def _files(tls: TlsSettings) -> tuple[Path | None, ...]:
    return (tls.ca_file, tls.cert_file, tls.key_file)


def _context(tls: TlsSettings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if tls.ca_file is None:
        context.load_default_certs()
    _load(context, tls)
    return context


def _load(context: ssl.SSLContext, tls: TlsSettings) -> None:
    """Read authorities and certificate as they are now."""
    if tls.ca_file is not None:
        try:
            context.load_verify_locations(cafile=str(tls.ca_file))
        except (ssl.SSLError, OSError) as error:
            sentence = f"kafka.tls.ca_file: {str(tls.ca_file)!r} holds no certificate in PEM ({_said(error)})."
            raise ConfigurationError(sentence) from error
    if tls.cert_file is None:
        return
    password = tls.key_password.get_secret_value() if tls.key_password else None
    try:
        # Without a password OpenSSL would ask the terminal.
        context.load_cert_chain(str(tls.cert_file), tls.key_file and str(tls.key_file), lambda: password or "")
    except (ssl.SSLError, OSError, ValueError) as error:
        key = "key_file" if tls.key_file is not None else "cert_file"
        sentence = f"kafka.tls.{key}: {str(tls.key_file or tls.cert_file)!r} cannot be used ({_said(error)}): "
        remedy = "give the key of the certificate in cert_file, in PEM, and its key_password if it has one."
        raise ConfigurationError(sentence + remedy) from error


def _said(error: Exception) -> str:
    return str(getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__)


# --- SASL -------------------------------------------------------------------------------------------------------------
def _sasl(sasl: SaslSettings) -> dict[str, Any]:
    if sasl.mechanism == "OAUTHBEARER":
        tokens = tokens_of(sasl.token_url)
        tokens.use(sasl)
        return {"sasl_mechanism": sasl.mechanism, "sasl_oauth_token_provider": tokens}
    return {
        "sasl_mechanism": sasl.mechanism,
        "sasl_plain_username": sasl.username,
        "sasl_plain_password": _text(sasl),
    }


def _text(sasl: SaslSettings) -> str | None:
    return sasl.password.get_secret_value() if sasl.password else None


class Tokens(AbstractTokenProvider):  # type: ignore[misc]  # untyped in the library
    """Bearer tokens: the password itself, or what `token_url` gives for it, shared by all clients."""

    def __init__(self) -> None:
        self._sasl: SaslSettings | None = None
        self._token = ""
        self._fetch_at = self._ends_at = 0.0
        self._fetching: asyncio.Task[None] | None = None

    def use(self, sasl: SaslSettings) -> None:
        """Take these credentials from now on."""
        if sasl != self._sasl:
            self._sasl, self._fetch_at, self._ends_at = sasl, 0.0, 0.0

    async def token(self) -> str:
        """The token for the next connection. Raises TokenUnavailable."""
        sasl = self._sasl
        if sasl is None or sasl.token_url is None:
            return (_text(sasl) if sasl else None) or ""
        if time.monotonic() >= self._fetch_at:
            try:
                await self._fetch_once(sasl)
            except TokenUnavailable:
                # The old one is good for a while.
                if time.monotonic() >= self._ends_at:
                    raise
        return self._token

    async def _fetch_once(self, sasl: SaslSettings) -> None:
        """However many connections need one, it is fetched once."""
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(self._fetch(sasl), name="kafka-token")
            self._fetching.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.shield(self._fetching)

    async def _fetch(self, sasl: SaslSettings) -> None:
        began = time.monotonic()
        answer = await asyncio.to_thread(fetch, sasl)
        life = float(answer.get("expires_in") or DEFAULT_LIFE_SECONDS)
        self._token = str(answer["access_token"])
        self._fetch_at, self._ends_at = began + FRESH_SHARE * life, began + life


@lru_cache(maxsize=8)
def tokens_of(_token_url: str | None) -> Tokens:
    """The tokens of an endpoint."""
    return Tokens()


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Credentials go to the address of the settings and nowhere else."""

    def redirect_request(self, *_arguments: Any, **_named: Any) -> None:
        """Follow nothing."""


def fetch(sasl: SaslSettings) -> Mapping[str, Any]:
    """Ask for a token with the client credentials grant (RFC 6749, section 4.4). Blocks; raises TokenUnavailable."""
    form = {"grant_type": "client_credentials", **({"scope": sasl.scope} if sasl.scope else {})}
    pair = f"{quote(sasl.username or '', safe='')}:{quote(_text(sasl) or '', safe='')}"
    request = urllib.request.Request(  # noqa: S310 - the settings allow http and https alone
        str(sasl.token_url),
        data=urlencode(form).encode(),
        headers={
            "Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}",
            "Accept": "application/json",
        },
    )
    try:
        with urllib.request.build_opener(_NoRedirects()).open(request, timeout=TOKEN_SECONDS) as answer:
            found = orjson.loads(answer.read(LARGEST_ANSWER_BYTES))
    except urllib.error.HTTPError as error:
        error.close()
        refused = HTTPStatus.BAD_REQUEST <= error.code < HTTPStatus.INTERNAL_SERVER_ERROR
        raise TokenUnavailable(
            f"{sasl.token_url} answers {error.code}" + (f" to the client id {sasl.username!r}" if refused else "")
        ) from error
    except (OSError, orjson.JSONDecodeError) as error:
        raise TokenUnavailable(f"{sasl.token_url} cannot be asked ({_said(error)})") from error
    if not isinstance(found, dict) or not found.get("access_token"):
        raise TokenUnavailable(f"{sasl.token_url} answers without an access_token")
    return found
