"""What Kafka forgets: the group's offsets, and the beginning of the journal."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping

from aiokafka.admin import AIOKafkaAdminClient
from confluent_kafka import OFFSET_END, TopicPartition
from confluent_kafka.admin import AdminClient

from connector.executor import offsets
from connector.state import checkpoints, journal
from tests.guarantees.stage import Stage
from tests.running import read_all

TIMEOUT_SECONDS = 30


def _admin(stage: Stage) -> AdminClient:
    return AdminClient({"bootstrap.servers": stage.kafka, "log_level": 0})


def _group(stage: Stage) -> str:
    return f"{stage.prefix}-command"


async def forget_offsets(stage: Stage) -> None:
    """Delete the commits of the group, which must have no member: as after a week at rest."""

    def forget() -> None:
        # Its futures end with it.
        admin = _admin(stage)
        for future in admin.delete_consumer_groups([_group(stage)]).values():
            future.result(TIMEOUT_SECONDS)

    await asyncio.to_thread(forget)


async def low_marks(stage: Stage) -> Mapping[int, int]:
    """From where on the commits need the journal, by partition."""
    # confluent_kafka reads a commit's text beyond its end.
    admin = AIOKafkaAdminClient(bootstrap_servers=stage.kafka)
    await admin.start()
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            committed = await admin.list_consumer_group_offsets(_group(stage))
    finally:
        await admin.close()
    marks = defaultdict[int, list[int]](list)
    for place, said in committed.items():
        commit = offsets.decode(said.offset, said.metadata or "")
        if commit is not None:
            marks[place.partition].append(commit.low)
    return {partition: min(lows) for partition, lows in marks.items()}


async def cut_journal(stage: Stage, marks: Mapping[int, int] | None) -> None:
    """Delete the journal's records before these offsets, all of them without any: as its retention does."""
    topic = f"{stage.prefix}.{journal.TOPIC}"
    before = dict.fromkeys(range(stage.partitions), OFFSET_END) if marks is None else marks

    def cut() -> None:
        wanted = [TopicPartition(topic, partition, offset) for partition, offset in before.items()]
        admin = _admin(stage)
        for future in admin.delete_records(wanted).values():
            future.result(TIMEOUT_SECONDS)

    await asyncio.to_thread(cut)


async def has_ended_in_order(stage: Stage) -> bool:
    """Whether each partition's last owner said so; one that was ended while it began cannot, and what it found stays.

    Without that nobody can do without the journal: docs/guarantees.md says what is in doubt then.
    """
    records = await read_all(stage.kafka, f"{stage.prefix}.{checkpoints.TOPIC}")
    newest = {record.partition: checkpoints.decode(record.value) for record in records if record.value}
    return len(newest) == stage.partitions and all(one.is_final for one in newest.values())
