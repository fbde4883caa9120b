"""What a KV cache saves: time to the first token, with and without one."""
