"""Replays traces of requests through the shard's own policies; see `__main__`."""
