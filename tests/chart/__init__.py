"""The chart: rendered with many values, held against Kubernetes, against the connector and against itself."""
