"""What a persona adds to the calls that use its role."""

from __future__ import annotations

from typing import Any

from memos_ray.core.access.personas import Persona
from memos_ray.gateway.chat.models import ChatQuery, Turn
from memos_ray.gateway.memories.models import NewMemory


def as_persona_remembers(memory: NewMemory, persona: Persona | None, namespace: str) -> NewMemory:
    """Returns a memory with the tags and the lifespan that those of a stream have."""
    if persona is None or namespace != persona.stream:
        return memory
    change: dict[str, Any] = {"tags": list(dict.fromkeys((*memory.tags, *persona.tags)))}
    if memory.expires_at is None and memory.half_life_s is None:
        change["half_life_s"] = persona.half_life_s
    return memory.model_copy(update=change)


def as_persona_speaks(
    query: ChatQuery, persona: Persona | None, scope: tuple[str, ...]
) -> ChatQuery:
    """Returns a conversation behind a persona's preface, over a persona's memories.

    Args:
        scope: the namespaces that are meant where none is named; the first one remembers.
    """
    if persona is None:
        return query
    change: dict[str, Any] = {}
    if query.namespaces is None:
        change["namespaces"] = list(scope)
    if persona.preface:
        first, *rest = query.messages
        if first.role == "system":
            told = Turn(role="system", content=f"{persona.preface}\n\n{first.content}")
            change["messages"] = [told, *rest]
        else:
            change["messages"] = [Turn(role="system", content=persona.preface), *query.messages]
    return query.model_copy(update=change)
