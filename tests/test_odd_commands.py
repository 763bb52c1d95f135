"""Odd commands among innocent ones: each comes to one result, and none harms another."""

from collections import Counter

from connector.resources import COMMANDS
from tests.executing import executing, message
from tests.odd_commands import odd_commands, produce
from tests.running import read_all, values

WITHIN_SECONDS = 90.0
NEIGHBOURS_EACH = 2


async def test_each_odd_command_comes_to_one_result_and_none_harms_another(kafka: str, prefix: str) -> None:
    table = odd_commands(prefix)
    sent: dict[tuple[str, int, int], str] = {}
    innocent = 0
    async with executing(kafka, prefix, also=COMMANDS) as running:
        await running.serving()
        for odd in table:
            for _ in range(NEIGHBOURS_EACH):
                innocent += 1
                await running.send(message(f"innocent {innocent}"), key=f"innocent-{innocent % 7}", id=f"n-{innocent}")
            written = await produce(running.producer, running.topic(f"commands.{odd.command}"), odd)
            sent[written.topic, written.partition, written.offset] = odd.name
        wanted = Counter(odd.command for odd in table) + Counter({"send-message": innocent})
        results = [
            result
            for command, count in wanted.items()
            for result in await running.results(count, command=command, within=WITHIN_SECONDS)
        ]
        await running.stop()
        everything = [
            result
            for command in wanted
            for result in values(await read_all(kafka, running.topic(f"results.{command}")))
        ]
    by_name: dict[str, list[str]] = {odd.name: [] for odd in table}
    for result in everything:
        command = result["command"]
        name = sent.get((command["topic"], command["partition"], command["offset"]))
        if name is not None:
            by_name[name].append(result["outcome"])
    wrong = {
        odd.name: by_name[odd.name]
        for odd in table
        if len(by_name[odd.name]) != 1 or not odd.outcomes >= set(by_name[odd.name])
    }
    assert wrong == {}
    bodies = Counter(running.created())
    assert [number for number in range(1, innocent + 1) if bodies[f"innocent {number}"] != 1] == []
    assert len(everything) == len(results)
