"""Authoritative documents, compared with what is held."""
