"""LoRA adapters in engines: what is held, what has a slot, and how weights get there."""
