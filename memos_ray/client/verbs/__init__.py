"""What a client can be asked for, topic by topic."""
