"""Memories: stored, ingested, found, changed."""
