"""`run --workers N`: a supervisor of several processes, the relay to their consoles, the sums of their metrics."""
