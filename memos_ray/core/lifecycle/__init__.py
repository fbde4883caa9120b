"""The life of a memory: its states, the moves between them, and when they are made."""
