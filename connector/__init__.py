"""The Twilio-Kafka connector.

    cli/ __main__         the command line
    app                   composition root: settings -> clients -> engines
    workers/ dev/         several processes; the embedded broker and the demo
    doctor                checks what the connector needs, for an operator
    catalog secrets       what a configuration uses of Kafka; secrets that change while the process runs
    admin/ console/       health, metrics, pages
    schemas/              JSON Schemas and AsyncAPI of what is written and read
    timeline/             records joined for people, for `tail` and the console
    watcher/              engine: polls Twilio's lists, publishes what is new; back-fills, trials
    receiver/             engine: takes Twilio's callbacks, answers when they are stored
    executor/             engine: runs commands from Kafka
    dead_letters/         written, chosen, shown, replayed once
    state/                what owners keep in Kafka: journal, checkpoints, claims, requests to watches
    kafka/ twilio/        the edges; nothing else imports aiokafka or opens a connection to Twilio
    settings/             every key, its bounds and its origin
    resources/ openapi/   what Twilio has, as rows and models; what its documents say
    events                records: CloudEvents in Kafka's binding
    telemetry/            metrics, log, traces
    process/              ports and folders, memory, rhythm
    errors conditions privacy terminal server_header
                          failures; choosing; what may be shown, where, and what our servers do not tell
    simulator/            a Twilio for tests and demos; shares only the signature

Imports point downwards; import-linter checks it.
"""

__version__ = "0.1.0"
