"""`twilio-kafka signature`: compute and check X-Twilio-Signature, and see which string was signed."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import typer

from connector.cli.options import Commands, Format, FormatOption, examples
from connector.cli.output import say, say_json

if TYPE_CHECKING:
    from connector.twilio.signature import Verdict

FORM = "application/x-www-form-urlencoded"

app = Commands(help="Compute and check the signature of a callback.", no_args_is_help=True)

UrlOption = Annotated[str, typer.Option(help="The URL exactly as Twilio was given it, query included.")]
TokenOption = Annotated[
    list[str] | None,
    typer.Option(
        envvar="TWILIO_AUTH_TOKEN", help="Auth Token of the account; several for a rotation.", show_default=False
    ),
]
SharedKeyOption = Annotated[
    str | None, typer.Option(metavar="SECRET", help="Secret of a shared key, for HMAC-SHA256 signatures.")
]
SharedKeyFileOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="The same in a file, so that no list of processes shows it.", exists=True, dir_okay=False
    ),
]
BodyOption = Annotated[
    Path | None, typer.Option("--body-file", help="The raw body; none for GET.", exists=True, dir_okay=False)
]
TypeOption = Annotated[str, typer.Option("--content-type", help="Content type of the body.")]
SettingsOption = Annotated[
    str, typer.Option("--settings-header", help="Value of X-Twilio-Webhooks-Signature-Settings.")
]


@app.command(
    epilog=examples(
        "twilio-kafka signature verify --url https://hooks.example.com/cb \\",
        "  --body-file body --signature 0/KCTR6DLpKmkAf8muzZqo1nDgQ=",
    )
)
def verify(
    url: UrlOption,
    signature: Annotated[str, typer.Option(help="Value of X-Twilio-Signature.")],
    auth_token: TokenOption = None,
    shared_key: SharedKeyOption = None,
    shared_key_file: SharedKeyFileOption = None,
    body_file: BodyOption = None,
    content_type: TypeOption = FORM,
    settings_header: SettingsOption = "",
    output: FormatOption = Format.text,
) -> None:
    """Check a signature: exit code 0 when it is valid, 1 when not; explains which URL and string were signed."""
    from connector.twilio.signature import Keys, explain, settings_of

    shared_key = _secret(shared_key, shared_key_file)
    header = settings_header or ("key=given,algorithm=HMAC_SHA256" if shared_key else "")
    keys = Keys.of(auth_token or (), {settings_of(header)[0]: shared_key} if shared_key else {})
    pairs, body = _content(body_file, content_type)
    verdict = explain(url, pairs, signature, keys, settings=header, body=body)
    others = () if verdict.valid else _others(url)
    matching = next(
        (other for other in others if explain(other, pairs, signature, keys, settings=header, body=body).valid), None
    )
    if output is Format.json:
        say_json({**_as_json(verdict), "matching_url": matching})
    else:
        _print(verdict)
        if matching:
            say(f"It was signed for {matching}: that URL is the one that Twilio was given (callbacks.public_url).")
    raise typer.Exit(0 if verdict.valid else 1)


@app.command(
    epilog=examples("twilio-kafka signature sign --url https://hooks.example.com/callbacks/events --body-file body")
)
def sign(
    url: UrlOption,
    auth_token: TokenOption = None,
    shared_key: SharedKeyOption = None,
    shared_key_file: SharedKeyFileOption = None,
    body_file: BodyOption = None,
    content_type: TypeOption = FORM,
    settings_header: SettingsOption = "",
    output: FormatOption = Format.text,
) -> None:
    """Print the signature that Twilio would send."""
    from connector.twilio.signature import compute, compute_sha256, settings_of, signed_string

    shared_key = _secret(shared_key, shared_key_file)
    pairs, _ = _content(body_file, content_type)
    wants_sha256 = shared_key is not None and (not settings_header or settings_of(settings_header)[1] == "HMAC_SHA256")
    if wants_sha256 and shared_key is not None:
        made = compute_sha256(url, pairs, shared_key)
    elif auth_token:
        made = compute(url, pairs, auth_token[0])
    else:
        raise typer.BadParameter("Give --auth-token, or --shared-key or --shared-key-file for HMAC-SHA256.")
    if output is Format.json:
        algorithm = "HMAC_SHA256" if wants_sha256 else "HMAC_SHA1"
        say_json({"signature": made, "algorithm": algorithm, "signed": signed_string(url, pairs)})
    else:
        say(made)


def _secret(given: str | None, file: Path | None) -> str | None:
    """A shared key's secret, given as itself or in a file."""
    from connector.settings.environment import read_secret

    if file is None:
        return given
    if given is not None:
        raise typer.BadParameter("Give --shared-key or --shared-key-file, not both.")
    try:
        return read_secret(str(file))
    except ValueError as error:
        raise typer.BadParameter(f"--shared-key-file: {error}") from error


def _content(body_file: Path | None, content_type: str) -> tuple[list[tuple[str, str]], bytes | None]:
    """The fields of a form, or the raw body of anything else."""
    if body_file is None:
        return [], None
    raw = body_file.read_bytes()
    if content_type.partition(";")[0].strip().lower() == FORM:
        try:
            return parse_qsl(raw.decode(), keep_blank_values=True), None
        except UnicodeDecodeError as error:
            raise typer.BadParameter(f"{body_file} is not a form in UTF-8: give its --content-type.") from error
    return [], raw


def _others(url: str) -> Iterator[str]:
    """Addresses that are taken for this one: of the other scheme, with or without the last slash or the query."""
    parts = urlsplit(url)
    bare = parts.path.rstrip("/")
    for scheme in dict.fromkeys((parts.scheme, "https", "http")):
        for path in dict.fromkeys((parts.path, bare, f"{bare}/")):
            for query in dict.fromkeys((parts.query, "")):
                yield urlunsplit((scheme, parts.netloc, path, query, ""))


def _as_json(verdict: "Verdict") -> dict[str, object]:
    attempts = [
        {"url": attempt.url, "signed": attempt.signed, "secret": attempt.secret, "matches": attempt.matches}
        for attempt in verdict.attempts
    ]
    return {"valid": verdict.valid, "reason": verdict.reason, "algorithm": verdict.algorithm, "attempts": attempts}


def _print(verdict: "Verdict") -> None:
    say(f"{'valid' if verdict.valid else 'not valid'}: {verdict.reason} ({verdict.algorithm})")
    for attempt in verdict.attempts:
        say(f"  {'=' if attempt.matches else '≠'} {attempt.secret} over the URL {attempt.url}")
        say(f"    signed string: {attempt.signed}")
