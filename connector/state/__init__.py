"""What the connector keeps in Kafka for itself: journal, checkpoints, and what is asked of watches."""
