"""Chains of operations."""
