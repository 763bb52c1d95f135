"""The section `connections`: one per Twilio account or subaccount, with its credentials, addresses and limits."""

from collections.abc import Iterator, Mapping
from typing import Annotated, NamedTuple
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr

from connector.resources.hosts import HOSTS, PRODUCTS, Host, Product, host_name
from connector.settings.section import Address, Credential, Finding, Matches, Section, Split, asked, is_loopback

EDGES = {
    "au1": "sydney",
    "br1": "sao-paulo",
    "de1": "frankfurt",
    "ie1": "dublin",
    "jp1": "tokyo",
    "sg1": "singapore",
    "us2": "umatilla",
}
"""The edge that serves a region from nearby. Twilio: global-infrastructure/edge-locations."""

AccountSid = Annotated[
    str,
    Matches(
        "AC[0-9a-fA-F]{32}",
        "is not an account SID: copy it from the Console, AC and 32 hexadecimal digits",
        begins="AC",
    ),
]
KeySid = Annotated[
    str,
    Matches(
        "SK[0-9a-fA-F]{32}",
        "is not the SID of an API key: copy it from the Console, SK and 32 hexadecimal digits",
        begins="SK",
    ),
]
Label = Annotated[str, Matches("[a-z0-9]+(?:-[a-z0-9]+)*", "is not a part of a host name: write it as Twilio does")]
ConnectionName = Annotated[
    str,
    Matches(
        "[A-Za-z0-9]+(?:[-_][A-Za-z0-9]+)*",
        "cannot name a connection: use letters and digits, single hyphens between them",
    ),
]
ProductName = Annotated[Product, BeforeValidator(host_name), Field(json_schema_extra={"enum": [*PRODUCTS]})]
Rate = Annotated[float, Field(ge=0, le=100_000, allow_inf_nan=False)]


class Credentials(NamedTuple):
    """User name and password of HTTP basic authentication."""

    username: str
    password: SecretStr


class Connection(Section):
    """One Twilio account or subaccount."""

    account_sid: AccountSid = Field(description="The account: AC and 32 hexadecimal digits.")
    auth_token: Credential | None = Field(
        default=None,
        description="The primary auth token: verifies callbacks, authenticates requests unless an API key is given.",
    )
    additional_auth_tokens: Annotated[tuple[Credential, ...], Split] = Field(
        default=(), description="Tokens that are accepted for callback signatures as well, while tokens rotate."
    )
    shared_keys: dict[str, Credential] = Field(
        default={}, description="Secrets of HMAC_SHA256 signatures by the id of the shared key."
    )
    api_key: KeySid | None = Field(default=None, description="API key (SK…) that authenticates requests.")
    api_secret: Credential | None = Field(default=None, description="The API key's secret.")
    region: Label | None = Field(default=None, description="Twilio region, such as ie1; needs `edge`.")
    edge: Label | None = Field(default=None, description="Twilio edge, such as dublin; alone it leads to region us1.")
    api_url: Address | None = Field(
        default=None,
        description="Address of the API instead of the one of edge and region, for a simulator or a proxy. "
        "Without any of them https://api.twilio.com.",
    )
    monitor_url: Address | None = Field(
        default=None,
        description="Address of the Monitor API in the same way. Without it https://monitor.twilio.com, "
        "or a loopback `api_url`, so that a simulator's credentials never leave the machine.",
    )
    product_urls: dict[ProductName, Address] = Field(
        default={},
        description="Addresses of further APIs in the same way, by the product that begins Twilio's name of the host: "
        "`verify` is for https://verify.twilio.com.",
    )
    max_concurrency: int = Field(
        default=50, ge=1, le=10_000, description="Upper bound of the adaptive limit on concurrent API requests."
    )
    calls_per_second: Rate = Field(
        default=1, description="Pace of new calls, of all processes together; Twilio's default is 1; 0 is unpaced."
    )
    message_segments_per_second: dict[str, Rate] = Field(
        default={"default": 0},
        description="Pace of message segments by sender, of all processes together; `default` is for the rest; "
        "0 is unpaced.",
    )

    @property
    def auth(self) -> Credentials:
        """What authenticates requests: the API key, else account and auth token."""
        if self.api_key and self.api_secret:
            return Credentials(self.api_key, self.api_secret)
        return Credentials(self.account_sid, self.auth_token or SecretStr(""))

    @property
    def signing_tokens(self) -> tuple[SecretStr, ...]:
        """The tokens that a callback may be signed with, the current one first."""
        return (*((self.auth_token,) if self.auth_token else ()), *self.additional_auth_tokens)

    @property
    def bases(self) -> Mapping[Host, str]:
        """Scheme and host of each API, without a final slash: all that requests of this connection go to."""
        loopback = self.api_url if self.api_url and is_loopback(urlsplit(self.api_url).hostname or "") else None
        return {host: self._given(host) or loopback or self._host(host) for host in HOSTS}

    def _given(self, host: Host) -> str | None:
        return self.api_url if host == "api" else self.monitor_url if host == "monitor" else self.product_urls.get(host)

    def segments_per_second(self, sender: str | None) -> float:
        """The pace of a sender; 0 is unpaced."""
        paces = self.message_segments_per_second
        return paces.get(sender or "default", paces.get("default", 0))

    def _host(self, product: str) -> str:
        """Twilio's pattern {product}.{edge}.{region}.twilio.com; a region alone has had no host since 2026-04-28."""
        place = f"{self.edge}.{self.region or 'us1'}." if self.edge else ""
        return f"https://{product}.{place}twilio.com"

    def findings(self) -> Iterator[Finding]:
        """Credentials are complete, and the region has a host."""
        return asked(self._no_credentials(), self._half_a_key(), self._region_without_host())

    def _no_credentials(self) -> Iterator[Finding]:
        if self.auth_token is None and self.api_key is None and self.api_secret is None:
            sentence = "is missing: give it, or api_key and api_secret, to authenticate requests"
            yield Finding(("auth_token",), sentence)

    def _half_a_key(self) -> Iterator[Finding]:
        if self.api_key and self.api_secret is None:
            yield Finding(("api_secret",), "is missing: api_key needs its secret; give it, or remove api_key")
        if self.api_secret and self.api_key is None:
            sentence = "is missing: api_secret belongs to a key; give the key's SID, or remove the secret"
            yield Finding(("api_key",), sentence)

    def _region_without_host(self) -> Iterator[Finding]:
        if self.region not in (None, "us1") and self.edge is None and self.api_url is None:
            edge = EDGES.get(str(self.region), "the edge nearest to it")
            yield Finding(
                ("region",),
                f"'{self.region}' without edge leads to a host that Twilio switched off on 2026-04-28: "
                f"add the edge ({edge}), or remove region",
            )
