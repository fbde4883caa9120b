"""Roles with memory streams of their own."""
