"""LoRA adapters: how they are loaded and shared, and what they are worth."""
