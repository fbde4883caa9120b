"""Trains and measures LoRA adapters, with PEFT on torch; needs `torch`, `transformers`, `peft`."""
