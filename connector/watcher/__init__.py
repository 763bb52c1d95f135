"""The watcher: polls Twilio's lists and publishes what is new, once and oldest first.

    cursor      what has been published, as a value that survives in Kafka
    walk        what to ask Twilio for, when to stop, which rows are to be published
    advance     one step: what is published now, and the cursor that says so
    catch_up    windows for a start in the past or after a long stop
    following   published rows that may still change
    records     a found row as an event or a dead letter
    watcher     the engine of one watch: the only part with I/O

Everything but `watcher` is pure.
"""

from connector.watcher.cursor import Cursor
from connector.watcher.watcher import Watcher

__all__ = ["Cursor", "Watcher"]
