"""Lessons and adapters."""
