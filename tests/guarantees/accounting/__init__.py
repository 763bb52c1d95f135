"""What became of all that was asked for, counted sentence by sentence of docs/guarantees.md. Pure."""
