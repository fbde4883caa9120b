"""How a model is asked."""

from __future__ import annotations

from pathlib import Path

from memos_ray.core.teaching import BUILT_IN, PhrasingSet, from_json

PHRASINGS_FILE = "phrasings.json"
"""In a model's folder: how this model is asked, before the built-in phrasings."""


def phrasings_for(folder: Path) -> tuple[PhrasingSet, ...]:
    """Returns how a model is asked: its own phrasings first.

    Raises:
        ConfigurationError: the file in its folder is none of phrasings.
    """
    own = folder / PHRASINGS_FILE
    return (from_json(own.read_bytes()), *BUILT_IN) if own.is_file() else BUILT_IN
