"""The watcher: polls Twilio's lists and publishes what is new, each row once and the oldest first.

    watcher     the engine of one watch: poll, publish and write the cursor in one transaction, wait
    owner       the watches of one partition of the cursors; how a watcher is made
    listener    requests to the watches here, as they come
    reading     Twilio's list: when to poll next, requests, walks, Twilio's time
    parents     the same for lists under other rows
    backfill    a stretch of the past, published in the foreground with a cursor of its own
    trial       one poll that publishes nothing, and what it shows
    report      log lines and metrics
The rest is pure:
    cursor      what has been published, as a value that survives in Kafka
    walk        what to ask for, when to stop, which rows are to be published; oldest bounds its memory
    advance     one step: what is published now, and the cursor that says so
    catch_up    windows for a start in the past or after a long stop
    following   published rows that may still change
    records     a found row as an event or a dead letter
    requests    what may be asked of a running watch
    status      where a watch stands, as its cursor tells
"""
