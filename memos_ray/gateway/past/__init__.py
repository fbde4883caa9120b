"""Snapshots and earlier moments."""
