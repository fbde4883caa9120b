"""A tiny language model that recalls facts from its context, and says `unknown` without them.

With it a test can tell whether a memory truly reached a model: ask for a fact that no training has
seen, and only a model that was given the fact knows the answer. Importing this package loads
nothing; `world` makes facts and questions, `tiny_recall_path()` is the model for transformers or
vLLM.
"""

from __future__ import annotations

from pathlib import Path


def tiny_recall_path() -> Path:
    """Returns the folder of the model, its tokenizer and its README."""
    return Path(__file__).parent / "model"
