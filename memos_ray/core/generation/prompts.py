"""What every engine asks of a prompt."""

from __future__ import annotations

from collections.abc import Sequence

from memos_ray.errors import InvalidInputError


def check_prompt(tokens: Sequence[int], context_tokens: int) -> None:
    """Lets a prompt pass that leaves room for an answer.

    Args:
        context_tokens: longest prompt and answer together.

    Raises:
        InvalidInputError: it is empty or too long.
    """
    if not tokens:
        raise InvalidInputError("the prompt is empty")
    if len(tokens) >= context_tokens:
        raise InvalidInputError("the prompt is too long", tokens=len(tokens), limit=context_tokens)
