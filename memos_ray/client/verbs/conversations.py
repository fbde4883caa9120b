"""What callers give as a conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from memos_ray.client.arguments import valid
from memos_ray.gateway.chat.models import ChatQuery, Turn

Messages = str | Sequence[Turn | Mapping[str, Any]]


def chat_query(messages: Messages, model: str, fields: Mapping[str, Any]) -> ChatQuery:
    """Makes a query.

    Raises:
        InvalidInputError: a field does not fit; says which.
    """
    turns = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
    given = [turn.model_dump() if isinstance(turn, Turn) else turn for turn in turns]
    return valid(ChatQuery, model=model, messages=given, **fields)
