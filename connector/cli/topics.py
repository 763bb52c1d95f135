"""`twilio-kafka topics`: what topics there must be, and making it so."""

from typing import TYPE_CHECKING, Annotated

import typer

from connector.cli.options import (
    Commands,
    ConfigOption,
    Format,
    FormatOption,
    KafkaOption,
    examples,
    kafka_settings,
    run_async,
)
from connector.cli.output import Column, print_table, say, say_json

if TYPE_CHECKING:
    from connector.settings import Settings

app = Commands(help="List the topics of this configuration, create what is missing.", no_args_is_help=True)


@app.command(
    "list",
    epilog=examples("twilio-kafka topics list", "twilio-kafka topics list --format json | jq '.topics[].name'"),
)
def list_topics(
    config: ConfigOption = None,
    kafka: KafkaOption = None,
    acls: Annotated[  # noqa: FBT002 - an option
        bool, typer.Option("--acls", help="Print the ACLs that the roles need instead, for kafka-acls.sh.")
    ] = False,
    principal: Annotated[
        str | None, typer.Option("--principal", metavar="TYPE:NAME", help="Who gets the ACLs; else the SASL user.")
    ] = None,
    console: Annotated[  # noqa: FBT002 - an option
        bool, typer.Option("--console/--no-console", help="With or without what only the console needs.")
    ] = True,
    output: FormatOption = Format.text,
) -> None:
    """Print every topic with partitions, replicas and settings, and what of it is missing or wrong."""
    from connector.catalog import topics_of
    from connector.kafka import topics

    settings = kafka_settings(config, kafka)
    if acls:
        _print_acls(settings, principal=principal, console=console, output=output)
        return
    wanted = topics_of(settings)
    problems = run_async(topics.check(settings.kafka, wanted), kafka=settings.kafka)
    if output is Format.json:
        listed = [
            {
                "name": topic.name,
                "partitions": topic.partitions,
                "replication_factor": topic.replication_factor,
                "config": dict(topic.config),
            }
            for topic in wanted
        ]
        say_json({"topics": listed, "problems": problems}, indent=2)
    else:
        print_table(
            (Column("NAME", wraps=True), Column("PARTITIONS", right=True), Column("SETTINGS", rank=1, wraps=True)),
            [
                (topic.name, str(topic.partitions), " ".join(f"{name}={value}" for name, value in topic.config.items()))
                for topic in wanted
            ],
        )
        for problem in problems:
            say(problem, err=True)
    raise typer.Exit(1 if problems else 0)


def _print_acls(settings: "Settings", *, principal: str | None, console: bool, output: Format) -> None:
    """The rights that the configured roles need; no broker is asked."""
    from dataclasses import asdict

    from connector.catalog import acls_of
    from connector.kafka import rights

    user = settings.kafka.sasl.username if settings.kafka.sasl else None
    who = principal or f"User:{user or 'twilio-kafka'}"
    found = acls_of(settings, console=console)
    if output is Format.json:
        say_json({"principal": who, "acls": [asdict(acl) for acl in found]}, indent=2)
        return
    for acl in found:
        line = rights.command(acl, principal=who, bootstrap_servers=settings.kafka.bootstrap_servers)
        say(f"{line}  # {', '.join(acl.purposes)}")


@app.command(
    "apply",
    epilog=examples("twilio-kafka topics apply", "twilio-kafka topics apply -c connector.yaml --kafka broker:9092"),
)
def apply_topics(config: ConfigOption = None, kafka: KafkaOption = None, output: FormatOption = Format.text) -> None:
    """Create what is missing, say what differs; doing it twice changes nothing."""
    from connector.catalog import topics_of
    from connector.kafka import topics

    settings = kafka_settings(config, kafka)
    done, left = run_async(topics.apply(settings.kafka, topics_of(settings)), kafka=settings.kafka)
    if output is Format.json:
        say_json({"done": done, "left": left}, indent=2)
    else:
        fine = [] if left else ["Every topic is as it should be."]
        for sentence in done or fine:
            say(sentence)
        for sentence in left:
            say(sentence, err=True)
    raise typer.Exit(1 if left else 0)
