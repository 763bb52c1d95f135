"""`run --workers N`: nursery and supervisor of several processes, relay to their consoles, sums of their metrics."""
