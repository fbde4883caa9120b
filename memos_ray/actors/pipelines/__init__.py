"""Chains of operations with effects as a whole or not at all."""
