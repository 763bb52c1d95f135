"""What `make dev` and the tests need: a real Kafka without Docker or Java, and demo traffic."""
