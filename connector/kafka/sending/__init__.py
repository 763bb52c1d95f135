"""How records are sent: batches, the requests that carry them, and the producer that sees to them."""
