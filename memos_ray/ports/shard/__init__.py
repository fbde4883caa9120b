"""The port of a vault shard, by what its callers want of it."""
