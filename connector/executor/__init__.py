"""The executor: commands from Kafka, each executed at most once, in the order of its key, with exactly one result."""
