"""OpenAI-compatible routes: what speaks to OpenAI speaks to this service, with memory."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Query
from fastapi.responses import Response, StreamingResponse

from memos_ray.errors import MemosError, NotFoundError
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.chat.model_ids import with_adapter
from memos_ray.gateway.chat.models import ChatAnswer, ChatQuery
from memos_ray.gateway.chat.openai_completion_models import (
    Completion,
    CompletionBody,
    CompletionChoice,
)
from memos_ray.gateway.chat.openai_embedding_models import EmbeddingBody, Embeddings
from memos_ray.gateway.chat.openai_models import (
    AnswerMessage,
    AskingBody,
    ChatCompletion,
    ChatCompletionBody,
    Choice,
    MemoryReport,
    ModelCard,
    ModelKind,
    ModelList,
)
from memos_ray.gateway.chat.openai_streams import (
    ChatChunks,
    Chunks,
    CompletionChunks,
    encoded,
    usage_of,
)
from memos_ray.gateway.doorway import Doorway
from memos_ray.gateway.fields import NamespaceName
from memos_ray.gateway.requests import CallerDep, DoorwayDep, JsonRoute

router = APIRouter(route_class=JsonRoute, tags=["models"])
_Namespaces = Annotated[
    Sequence[NamespaceName],
    Query(
        max_length=64,
        description="Whose adapters are listed beside those of the caller's own home.",
    ),
]
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {}}, "description": "The answer, or its events."}
}


@router.get("/models")
async def list_models(
    caller: CallerDep, doorway: DoorwayDep, namespace: _Namespaces = ()
) -> ModelList:
    """Lists the models that can be asked, those with an adapter, and the one that embeds."""
    await doorway.chats.check(caller)
    return ModelList(data=await _cards(doorway, caller, namespace))


@router.get("/models/{id:path}")
async def get_model(
    id: str, caller: CallerDep, doorway: DoorwayDep, namespace: _Namespaces = ()
) -> ModelCard:
    """Returns one of the models."""
    await doorway.chats.check(caller)
    cards = await _cards(doorway, caller, namespace)
    for card in cards:
        if card.id == id:
            return card
    raise NotFoundError("there is no such model", known=[card.id for card in cards])


@router.post("/chat/completions", response_model=ChatCompletion, responses=_EVENTS)
async def chat_completions(
    body: ChatCompletionBody, caller: CallerDep, doorway: DoorwayDep
) -> ChatCompletion | StreamingResponse:
    """Answers a conversation, with the caller's memories before it.

    With `stream` the answer comes as server-sent events; an error that comes up under way is the
    last of them, a problem document with `error` in it.
    """
    query = body.query()
    name, created = f"chatcmpl-{uuid4().hex}", int(time.time())
    if body.stream:
        chunks = ChatChunks(name, created, query.model)
        return await _stream(doorway, caller, query, body, chunks, template=True)
    answer = await doorway.chats.chat(caller, query)
    message = AnswerMessage(content=answer.text)
    return ChatCompletion(
        id=name,
        created=created,
        model=query.model,
        choices=[Choice(message=message, finish_reason=answer.finish)],
        usage=usage_of(answer.usage),
        memory=_report(answer),
    )


@router.post("/completions", response_model=Completion, responses=_EVENTS)
async def completions(
    body: CompletionBody, caller: CallerDep, doorway: DoorwayDep
) -> Completion | StreamingResponse:
    """Goes on with a prompt as it stands, without a chat template; the memories are above it.

    With `stream` the answer comes as server-sent events, as for conversations.
    """
    query = body.query()
    name, created = f"cmpl-{uuid4().hex}", int(time.time())
    if body.stream:
        chunks = CompletionChunks(name, created, query.model)
        return await _stream(doorway, caller, query, body, chunks, template=False)
    answer = await doorway.chats.chat(caller, query, template=False)
    return Completion(
        id=name,
        created=created,
        model=query.model,
        choices=[CompletionChoice(text=answer.text, finish_reason=answer.finish)],
        usage=usage_of(answer.usage),
        memory=_report(answer),
    )


@router.post("/embeddings", response_model=Embeddings)
async def embeddings(body: EmbeddingBody, caller: CallerDep, doorway: DoorwayDep) -> Response:
    """Embeds texts with the model that memories are embedded with."""
    vectors = await doorway.embeddings.embed(caller, body.model, body.input, body.dimensions)
    answer = Embeddings.of(body, vectors)
    # Not validated once more: these may be a million numbers.
    return Response(answer.model_dump_json(), media_type="application/json")


async def _stream(
    doorway: Doorway,
    caller: Caller,
    query: ChatQuery,
    body: AskingBody,
    chunks: Chunks,
    *,
    template: bool,
) -> StreamingResponse:
    events = doorway.chats.stream(caller, query, template=template)
    # What is wrong with the request is found before the first event, and has a status of its own.
    first = await anext(events)
    text = encoded(first, events, chunks, with_usage=body.with_usage, request_id=caller.request_id)
    return StreamingResponse(text, media_type="text/event-stream")


async def _cards(doorway: Doorway, caller: Caller, namespaces: Sequence[str]) -> list[ModelCard]:
    names = doorway.chats.models
    cards = [ModelCard(id=name) for name in names]
    cards += [
        ModelCard(id=with_adapter(one.model, one.id), parent=one.model)
        for one in await doorway.parameter.usable(caller, namespaces)
        if one.model in names
    ]
    try:
        space = await doorway.embeddings.space()
    except MemosError:
        # What cannot be had cannot be asked; the others can.
        return cards
    return [*cards, ModelCard(id=space.name, kind=ModelKind.EMBEDDING)]


def _report(answer: ChatAnswer) -> MemoryReport:
    return MemoryReport(
        used=answer.memories,
        stored=answer.stored,
        store_error=answer.store_error,
        response=answer.response,
        explanation=answer.explanation,
    )
