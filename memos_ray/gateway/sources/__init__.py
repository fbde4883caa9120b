"""Authoritative documents."""
