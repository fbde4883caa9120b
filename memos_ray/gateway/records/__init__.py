"""Logs, provenance and receipts."""
