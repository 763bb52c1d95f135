"""Which cluster answers."""

from aiokafka.errors import KafkaError

from connector.errors import Unavailable
from connector.kafka import clients
from connector.kafka.clients import administration
from connector.settings import KafkaSettings


async def brokers(kafka: KafkaSettings) -> tuple[int, str]:
    """How many brokers the cluster has, and its id. Raises Unavailable."""
    async with administration(kafka) as admin:
        try:
            found = await admin.describe_cluster()
        except KafkaError as error:
            raise Unavailable(clients.reason(error)) from error
    return len(found["brokers"]), str(found.get("cluster_id") or "")
