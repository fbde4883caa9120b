"""KV caches on their way between the cluster and an engine."""
