"""The private port: health, metrics, version, console."""
