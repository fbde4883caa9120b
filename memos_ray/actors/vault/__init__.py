"""The vault: shards, the single writers of their partitions, and what they keep at hand."""
