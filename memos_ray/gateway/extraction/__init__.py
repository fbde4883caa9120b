"""Facts that a model reads out of memories."""
