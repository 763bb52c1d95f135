"""`twilio-kafka topics`: what topics there must be, and making it so."""

import json

import typer

from connector.cli.options import ConfigOption, Format, FormatOption, KafkaOption, kafka_settings, run_async

app = typer.Typer(help="List the topics of this configuration, create what is missing.", no_args_is_help=True)


@app.command("list")
def list_topics(config: ConfigOption = None, kafka: KafkaOption = None, output: FormatOption = Format.text) -> None:
    """Print every topic with partitions, replicas and settings, and what of it is missing or wrong."""
    from connector.app import topics_of
    from connector.kafka import topics

    settings = kafka_settings(config, kafka)
    wanted = topics_of(settings)
    problems = run_async(topics.check(settings.kafka, wanted))
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
        typer.echo(json.dumps({"topics": listed, "problems": problems}, indent=2))
    else:
        width = max(len(topic.name) for topic in wanted)
        for topic in wanted:
            config_text = " ".join(f"{name}={value}" for name, value in topic.config.items())
            typer.echo(f"{topic.name:<{width}}  {topic.partitions:>3} partitions  {config_text}".rstrip())
        for problem in problems:
            typer.echo(problem, err=True)
    raise typer.Exit(1 if problems else 0)


@app.command("apply")
def apply_topics(config: ConfigOption = None, kafka: KafkaOption = None) -> None:
    """Create what is missing, say what differs; doing it twice changes nothing."""
    from connector.app import topics_of
    from connector.kafka import topics

    settings = kafka_settings(config, kafka)
    done, left = run_async(topics.apply(settings.kafka, topics_of(settings)))
    for sentence in done:
        typer.echo(sentence)
    for sentence in left:
        typer.echo(sentence, err=True)
    if not done and not left:
        typer.echo("Every topic is as it should be.")
    raise typer.Exit(1 if left else 0)
