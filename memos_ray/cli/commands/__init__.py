"""The commands, topic by topic."""
