"""A model that extracts, scripted: behind an OpenAI-compatible endpoint, over real HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from memos_ray.testing.openai_endpoint import Reply, Replying, answer

Turn = dict[str, Any]
"""A turn as the model is given it: `id`, `text` and what else is known of it."""


def memory(text: str, *sources: str, kind: str = "fact", **more: Any) -> dict[str, Any]:
    """An item of an answer, with everything that the schema asks for."""
    parts = {"subject": None, "predicate": None, "object": None, "time": None, "confidence": 0.9}
    return {"kind": kind, "text": text, **parts, **more, "sources": list(sources)}


def turns_in(body: dict[str, Any]) -> list[Turn]:
    """Returns the turns that a request is about."""
    turns: list[Turn] = json.loads(body["messages"][-1]["content"])
    return turns


def remembering(*memories: dict[str, Any]) -> Reply:
    """An answer with these items, whatever was asked."""
    return answer(json.dumps({"memories": list(memories)}, ensure_ascii=False))


def reading(found: Callable[[Sequence[Turn]], Sequence[dict[str, Any]]]) -> Replying:
    """Answers with what a function finds in the turns of a request."""
    return lambda body: remembering(*found(turns_in(body)))


def quoting(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """Finds in each turn that is to be read what it says, word for word."""
    return [memory(turn["text"], turn["id"]) for turn in turns if not turn.get("background")]
