"""KV caches of memories."""
