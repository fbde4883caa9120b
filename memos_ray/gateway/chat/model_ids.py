"""Names of models as callers write them: `qwen`, `qwen:ID` with an adapter, `qwen:base` without."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

BARE = "base"
_BETWEEN = ":"


@dataclass(frozen=True, slots=True)
class ModelId:
    """Which model is asked, and as what.

    Attributes:
        base: name of the model.
        adapter: id of the adapter to ask it with, when the caller names one.
        bare: whether it is asked as it was before it learnt anything.
    """

    base: str
    adapter: str | None = None
    bare: bool = False


def resolve(name: str, known: Collection[str]) -> ModelId | None:
    """Returns what a name stands for; nothing when there is no such model.

    Names of models may have colons of their own: the longest one that fits is meant.

    Args:
        known: names of the models that there are.
    """
    if name in known:
        return ModelId(name)
    end = name.rfind(_BETWEEN)
    while end > 0:
        base, rest = name[:end], name[end + 1 :]
        if base in known and rest:
            return ModelId(base, bare=True) if rest == BARE else ModelId(base, rest)
        end = name.rfind(_BETWEEN, 0, end)
    return None


def with_adapter(base: str, adapter: str) -> str:
    """Returns the name of a model with one adapter."""
    return f"{base}{_BETWEEN}{adapter}"
