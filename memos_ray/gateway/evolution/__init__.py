"""Feedback, and what use suggests."""
