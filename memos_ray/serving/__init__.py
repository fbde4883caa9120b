"""Model replicas: the engines, and how KV caches reach them."""
