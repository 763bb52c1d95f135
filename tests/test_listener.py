"""Requests reach the watches of a process, each once, whichever of its partitions opens when."""

import asyncio

from connector.kafka import produce, topics
from connector.kafka.topics import Topic
from connector.state import control
from connector.state.control import Request
from connector.watcher.listener import Listener
from tests.executing import kafka_settings
from tests.running import until


async def test_each_watch_gets_what_came_before_it_and_none_gets_anything_twice(kafka: str, prefix: str) -> None:
    settings = kafka_settings(kafka, prefix)
    await topics.apply(settings, [Topic(control.topic_of(settings), 1, 1)])
    found: list[tuple[str, int]] = []
    listener = Listener(settings, lambda offset, request: found.append((request.watch, offset)))

    async def ask(watch: str) -> None:
        await produce.send(settings, control.encode(prefix, Request(action="rescan", watch=watch)))

    try:
        for watch in ("calls", "messages", "alerts", "calls"):
            await ask(watch)
        listener.add({"messages": 0, "alerts": 3})
        await until(lambda: found == [("messages", 1)])
        await ask("messages")
        await until(lambda: len(found) == 2)
        # A partition that opens later reads from the start; those that listen already go on where they were.
        listener.add({"calls": 1})
        await ask("messages")
        await until(lambda: len(found) == 4)
        assert found == [("messages", 1), ("messages", 4), ("calls", 3), ("messages", 5)]
        await listener.remove(["messages"])
        await ask("messages")
        await ask("calls")
        await until(lambda: found[4:] == [("calls", 7)])
    finally:
        await listener.remove(["messages", "alerts", "calls"])


async def test_a_partition_that_opens_before_its_requests_are_passed_does_not_begin_the_reading_anew(
    kafka: str, prefix: str
) -> None:
    settings = kafka_settings(kafka, prefix)
    await topics.apply(settings, [Topic(control.topic_of(settings), 1, 1)])
    found: list[tuple[str, int]] = []
    listener = Listener(settings, lambda offset, request: found.append((request.watch, offset)))

    def readers() -> list[asyncio.Task[None]]:
        return [task for task in asyncio.all_tasks() if task.get_name() == "control"]

    try:
        listener.add({"messages": 0})
        first = readers()
        listener.add({"calls": 0})
        assert readers() == first
        for watch in ("calls", "messages"):
            await produce.send(settings, control.encode(prefix, Request(action="rescan", watch=watch)))
        await until(lambda: found == [("calls", 0), ("messages", 1)])
        listener.add({"alerts": 2})
        assert readers() == first
        await produce.send(settings, control.encode(prefix, Request(action="rescan", watch="alerts")))
        await until(lambda: found[2:] == [("alerts", 2)])
    finally:
        await listener.remove(["messages", "calls", "alerts"])
