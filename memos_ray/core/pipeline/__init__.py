"""Memory pipelines: their definitions, and what is decided of their runs."""
