"""The console: what is shown of the topics and of this process, and what may be asked for."""
