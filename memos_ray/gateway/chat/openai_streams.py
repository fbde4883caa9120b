"""Answers as server-sent events, in the words of OpenAI's API."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

import orjson

from memos_ray.errors import MemosError
from memos_ray.gateway.chat.models import ChatEvent, ChatUsage
from memos_ray.gateway.chat.openai_completion_models import Completion, CompletionChoice
from memos_ray.gateway.chat.openai_errors import openai_document
from memos_ray.gateway.chat.openai_models import (
    Answer,
    ChatChunk,
    ChunkChoice,
    Delta,
    MemoryReport,
    TokenDetails,
    Usage,
)
from memos_ray.gateway.memories.mapping import problem_of


@dataclass(frozen=True, slots=True)
class Chunks(ABC):
    """Makes the events of one answer."""

    id: str
    created: int
    model: str

    def first(self, memory: MemoryReport) -> Answer:
        """Opens the answer, and says which memories were used."""
        return self._chunk("", None, memory, opening=True)

    def next(self, text: str, finish: str | None, memory: MemoryReport | None) -> Answer:
        """Adds text; the last one has the reason of the end."""
        return self._chunk(text, finish, memory)

    @abstractmethod
    def usage(self, usage: Usage) -> Answer:
        """Says what the answer took."""

    @abstractmethod
    def _chunk(
        self, text: str, finish: str | None, memory: MemoryReport | None, opening: bool = False
    ) -> Answer: ...


class ChatChunks(Chunks):
    """Of `/v1/chat/completions`."""

    __slots__ = ()

    def usage(self, usage: Usage) -> Answer:
        """Says what the answer took."""
        return ChatChunk(
            id=self.id, created=self.created, model=self.model, choices=[], usage=usage
        )

    def _chunk(
        self, text: str, finish: str | None, memory: MemoryReport | None, opening: bool = False
    ) -> Answer:
        delta = Delta(role="assistant", content=text) if opening else Delta(content=text)
        choices = [ChunkChoice(delta=delta, finish_reason=finish)]
        return ChatChunk(
            id=self.id, created=self.created, model=self.model, choices=choices, memory=memory
        )


class CompletionChunks(Chunks):
    """Of `/v1/completions`."""

    __slots__ = ()

    def usage(self, usage: Usage) -> Answer:
        """Says what the answer took."""
        return Completion(
            id=self.id, created=self.created, model=self.model, choices=[], usage=usage
        )

    def _chunk(
        self, text: str, finish: str | None, memory: MemoryReport | None, opening: bool = False
    ) -> Answer:
        choices = [CompletionChoice(text=text, finish_reason=finish)]
        return Completion(
            id=self.id, created=self.created, model=self.model, choices=choices, memory=memory
        )


async def encoded(
    first: ChatEvent,
    events: AsyncGenerator[ChatEvent, None],
    chunks: Chunks,
    *,
    with_usage: bool,
    request_id: str,
) -> AsyncGenerator[str, None]:
    """Yields the text of an answer's events; an error that comes up under way is the last one.

    Args:
        first: the first of the events, which has come already.
    """
    async with aclosing(events):
        try:
            report = MemoryReport(used=first.memories or [], response=first.response)
            yield _written(chunks.first(report))
            async for event in events:
                yield _written(chunks.next(event.text, event.finish, _told(event)))
                if event.usage is not None and with_usage:
                    yield _written(chunks.usage(usage_of(event.usage)))
        except MemosError as error:
            document = openai_document(problem_of(error, request_id))
            yield f"data: {orjson.dumps(document).decode()}\n\n"
            return
    yield "data: [DONE]\n\n"


def _told(event: ChatEvent) -> MemoryReport | None:
    """What an event behind the first says of memories; `used` when they went in otherwise."""
    told = (event.memories, event.stored, event.store_error, event.explanation)
    if all(one is None for one in told):
        return None
    return MemoryReport(
        used=event.memories or [],
        stored=event.stored or [],
        store_error=event.store_error,
        explanation=event.explanation,
    )


def usage_of(usage: ChatUsage) -> Usage:
    """Returns the usage in OpenAI's words."""
    return Usage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.prompt_tokens + usage.completion_tokens,
        prompt_tokens_details=TokenDetails(cached_tokens=usage.cached_tokens),
    )


def _written(chunk: Answer) -> str:
    return f"data: {chunk.model_dump_json(exclude_none=True)}\n\n"
