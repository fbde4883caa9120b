"""Parameter memory: lessons, adapters, and what becomes of them."""
