"""The typed handle of a vault shard: its port, carried by Ray."""
