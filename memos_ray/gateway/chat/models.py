"""Conversations with memory: what is asked, and what comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from memos_ray.core.cube.payload import Form
from memos_ray.errors import UnavailableError
from memos_ray.gateway.fields import Label, Model, Name, NamespaceName, printable

_Text = Annotated[str, StringConstraints(max_length=1 << 20), AfterValidator(printable)]

_Stop = Annotated[str, StringConstraints(min_length=1, max_length=1024), AfterValidator(printable)]


class MemoryMode(StrEnum):
    """What a conversation does with memory."""

    OFF = "off"
    READ = "read"
    READ_WRITE = "read_write"


class Turn(Model):
    """One message of a conversation."""

    role: Annotated[str, StringConstraints(pattern="^(system|user|assistant)$")]
    content: _Text


class ChatQuery(Model):
    """A conversation to go on with.

    `memory` says whether memories of `namespaces` (the caller's own home when absent) are put in
    front, and whether this turn is remembered there, under `session`. `speaker` is recorded with
    what the user said. `adapters` says whether what the model has learnt of the memories may stand
    in for their text. `explain` has the answer say in which form each memory went in, and why.
    """

    model: Name
    messages: Annotated[list[Turn], Field(min_length=1, max_length=1000)]
    memory: MemoryMode = MemoryMode.READ
    namespaces: Annotated[list[NamespaceName], Field(min_length=1, max_length=64)] | None = None
    adapters: bool = True
    session: Label | None = None
    speaker: Label | None = None
    memories: Annotated[int, Field(ge=1, le=200)] = 20
    memory_tokens: Annotated[int, Field(ge=1, le=1 << 20)] = 1024
    max_tokens: Annotated[int, Field(ge=1, le=1 << 20)] = 256
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    stop: Annotated[list[_Stop], Field(max_length=16)] = []
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] | None = None
    explain: bool = False


class UsedMemory(Model):
    """A memory that was in the prompt, and in which form it reached the model."""

    id: str
    version: int
    namespace: str
    form: Form
    tokens: int


class MemoryChoice(Model):
    """In which form a memory went into a prompt, and why; none when it was left out.

    `refused` has a reason for each form that was out of the question, `costs_s` the seconds until
    the first word of those that were weighed, as far as that has been measured. `preloaded` says
    whether the memory was at hand by the forecast behind the conversation's last turn.
    """

    id: str
    version: int
    form: Form | None
    reason: str
    refused: dict[Form, str]
    costs_s: dict[Form, float]
    preloaded: bool


class Explanation(Model):
    """Why a prompt was made as it was.

    `adapter` says why an adapter that there is was not used, `caches` why the KV caches that there
    are were not brought. `computed_token_s` and `loaded_token_s` are what a token has cost lately.
    """

    adapter: str | None = None
    caches: str | None = None
    computed_token_s: float | None = None
    loaded_token_s: float | None = None
    memories: list[MemoryChoice]


class ChatUsage(Model):
    """Tokens of a prompt and its answer; `cached_tokens` of the prompt were not computed."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int


class ChatEvent(Model):
    """A piece of an answer.

    The first one carries the memories that were used, and the id of the answer. The last one
    carries the reason of the end, the usage and, where this turn was to be remembered, the ids of
    what was stored, or the code of the error that prevented it; and the explanation, where it was
    asked for.
    """

    text: str = ""
    memories: list[UsedMemory] | None = None
    finish: str | None = None
    usage: ChatUsage | None = None
    stored: list[str] | None = None
    store_error: str | None = None
    response: str | None = None
    explanation: Explanation | None = None


class ChatAnswer(Model):
    """A whole answer.

    `response` is its id, by which the log says which memories it was given, and feedback is sent.
    """

    text: str
    finish: str
    memories: list[UsedMemory]
    usage: ChatUsage
    stored: list[str] = []
    store_error: str | None = None
    response: str = ""
    explanation: Explanation | None = None


async def whole(events: AsyncIterator[ChatEvent]) -> ChatAnswer:
    """Puts the pieces of an answer together."""
    text, memories, last, response = "", list[UsedMemory](), ChatEvent(), ""
    async for event in events:
        text += event.text
        memories = event.memories or memories
        response = event.response or response
        last = event
    if last.finish is None or last.usage is None:
        raise UnavailableError("the answer has no end")
    return ChatAnswer(
        text=text,
        finish=last.finish,
        memories=memories,
        usage=last.usage,
        stored=last.stored or [],
        store_error=last.store_error,
        response=response,
        explanation=last.explanation,
    )
