"""A memory operating system for LLMs, on Ray."""

from __future__ import annotations

__version__ = "0.1.0"
