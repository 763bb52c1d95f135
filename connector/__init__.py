"""The Twilio-Kafka connector.

    cli/ __main__      the command line
    app                composition root: settings -> clients -> engines
    admin/ dev/        health, metrics, console; the embedded broker and the demo
    replay letters     dead letters: chosen, shown, replayed once
    watcher/           engine: polls Twilio's lists, publishes what is new
    receiver/          engine: takes Twilio's callbacks, answers when they are stored
    executor/          engine: runs commands from Kafka
    kafka/ twilio/     the edges; nothing else imports aiokafka or opens a connection to Twilio
    resources/         what Twilio has, as rows and models: the catalog
    events settings telemetry errors
    simulator/         a Twilio for tests and demos; shares only the signature

Imports point downwards; import-linter checks it.
"""

__version__ = "0.1.0"
