"""Facts that a model reads out of what was stored."""
