"""Activation memory: KV caches of memories and conversations, and when they pay."""
