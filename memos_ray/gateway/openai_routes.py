"""OpenAI-compatible routes: what speaks to OpenAI speaks to this service, with memory."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from uuid import uuid4

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from memos_ray.errors import MemosError
from memos_ray.gateway.chat_models import ChatEvent, ChatUsage
from memos_ray.gateway.mapping import problem_of
from memos_ray.gateway.openai_models import (
    AnswerMessage,
    ChatChunk,
    ChatCompletion,
    ChatCompletionBody,
    Choice,
    ChunkChoice,
    Delta,
    MemoryReport,
    ModelCard,
    ModelList,
    TokenDetails,
    Usage,
)
from memos_ray.gateway.requests import CallerDep, DoorwayDep, JsonRoute

router = APIRouter(route_class=JsonRoute, tags=["models"])
_STREAM = "text/event-stream"


@router.get("/models")
async def list_models(caller: CallerDep, doorway: DoorwayDep) -> ModelList:
    """Lists the models that can be asked."""
    await doorway.chats.check(caller)
    return ModelList(data=[ModelCard(id=name) for name in doorway.chats.models])


@router.post(
    "/chat/completions",
    response_model=ChatCompletion,
    responses={200: {"content": {_STREAM: {}}, "description": "The answer, or its events."}},
)
async def chat_completions(
    body: ChatCompletionBody, caller: CallerDep, doorway: DoorwayDep
) -> ChatCompletion | StreamingResponse:
    """Answers a conversation, with the caller's memories before it.

    With `stream` the answer comes as server-sent events; an error that comes up under way is the
    last of them, a problem document under `error`.
    """
    query = body.query()
    name, created = f"chatcmpl-{uuid4().hex}", int(time.time())
    if not body.stream:
        answer = await doorway.chats.chat(caller, query)
        return ChatCompletion(
            id=name,
            created=created,
            model=query.model,
            choices=[
                Choice(message=AnswerMessage(content=answer.text), finish_reason=answer.finish)
            ],
            usage=_usage(answer.usage),
            memory=MemoryReport(
                used=answer.memories, stored=answer.stored, store_error=answer.store_error
            ),
        )
    events = doorway.chats.stream(caller, query)
    # What is wrong with the request is found before the first event, and has a status of its own.
    first = await anext(events)
    stream = _Stream(name, created, body)
    return StreamingResponse(stream.encoded(first, events, caller.request_id), media_type=_STREAM)


class _Stream:
    """Server-sent events of one answer."""

    def __init__(self, name: str, created: int, body: ChatCompletionBody) -> None:
        self._name = name
        self._created = created
        self._model = body.model
        self._with_usage = body.stream_options is not None and body.stream_options.include_usage

    async def encoded(
        self, first: ChatEvent, events: AsyncGenerator[ChatEvent, None], request_id: str
    ) -> AsyncGenerator[str, None]:
        """Yields the events' text."""
        async with aclosing(events):
            try:
                used = MemoryReport(used=first.memories or [])
                yield self._event(Delta(role="assistant", content=""), memory=used)
                async for event in events:
                    memory = None
                    if event.stored is not None or event.store_error is not None:
                        memory = MemoryReport(
                            used=[], stored=event.stored or [], store_error=event.store_error
                        )
                    delta = Delta(content=event.text)
                    yield self._event(delta, finish=event.finish, memory=memory)
                    if event.usage is not None and self._with_usage:
                        yield self._chunk(choices=[], usage=_usage(event.usage))
            except MemosError as error:
                problem = problem_of(error, request_id).model_dump_json()
                yield f'data: {{"error": {problem}}}\n\n'
                return
        yield "data: [DONE]\n\n"

    def _event(
        self, delta: Delta, finish: str | None = None, memory: MemoryReport | None = None
    ) -> str:
        return self._chunk([ChunkChoice(delta=delta, finish_reason=finish)], memory=memory)

    def _chunk(
        self,
        choices: list[ChunkChoice],
        usage: Usage | None = None,
        memory: MemoryReport | None = None,
    ) -> str:
        chunk = ChatChunk(
            id=self._name,
            created=self._created,
            model=self._model,
            choices=choices,
            usage=usage,
            memory=memory,
        )
        return f"data: {chunk.model_dump_json(exclude_none=True)}\n\n"


def _usage(usage: ChatUsage) -> Usage:
    return Usage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.prompt_tokens + usage.completion_tokens,
        prompt_tokens_details=TokenDetails(cached_tokens=usage.cached_tokens),
    )
