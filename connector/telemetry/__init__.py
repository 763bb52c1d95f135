"""What a process says of itself: metrics and their exposition, the log, and traces."""
