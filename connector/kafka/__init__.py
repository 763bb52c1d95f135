"""The Kafka edge: clients, topics, fenced ownership, cursors and the journal. Nothing else imports aiokafka."""
