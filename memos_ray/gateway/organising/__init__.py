"""Duplicates and overtaken facts."""
