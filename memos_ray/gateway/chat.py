"""Conversations with memory: find, plan, answer, remember."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from uuid import uuid4

from memos_ray.core.activation import tenant_salt
from memos_ray.core.cube.facets import to_micros
from memos_ray.core.cube.payload import Form
from memos_ray.core.generation import ChatMessage, ChatRequest, GenerationPart, Sampling
from memos_ray.core.scheduling import PlanBudget, PromptMemory, PromptPlan, plan
from memos_ray.errors import MemosError, NotFoundError
from memos_ray.gateway.callers import Authenticator, Caller
from memos_ray.gateway.chat_models import (
    ChatAnswer,
    ChatEvent,
    ChatQuery,
    ChatUsage,
    MemoryMode,
    UsedMemory,
    whole,
)
from memos_ray.gateway.models import Memory, NewMemory, SearchQuery
from memos_ray.gateway.service import MemoryService
from memos_ray.ports import ModelPort


class ChatService:
    """Answers conversations.

    Every method takes the `Caller`; a memory reaches the prompt only when this caller may read it.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        memories: MemoryService,
        models: Mapping[str, ModelPort],
    ) -> None:
        self._authenticator = authenticator
        self._memories = memories
        self._models = models

    @property
    def models(self) -> list[str]:
        """Names of the models that can be asked."""
        return sorted(self._models)

    async def check(self, caller: Caller) -> None:
        """Lets a caller with a valid credential pass.

        Raises:
            UnauthenticatedError: no credential, or one that nobody knows.
        """
        await self._authenticator.context(caller)

    async def chat(self, caller: Caller, query: ChatQuery) -> ChatAnswer:
        """Returns a whole answer; see `stream`."""
        return await whole(self.stream(caller, query))

    async def stream(self, caller: Caller, query: ChatQuery) -> AsyncGenerator[ChatEvent, None]:
        """Yields an answer as it comes; leaving early cancels it, and then nothing is remembered.

        Raises:
            UnauthenticatedError: no credential, or one that nobody knows.
            NotFoundError: there is no such model.
            InvalidInputError: the conversation does not fit the model.
            OverloadedError: too many requests wait for the model.
            UnavailableError: the model or the memory does not answer.
        """
        context, _ = await self._authenticator.context(caller)
        model = self._models.get(query.model)
        if model is None:
            raise NotFoundError("there is no such model", model=query.model, known=self.models)
        found = await self._found(caller, query)
        made = _plan(query, found)
        request = ChatRequest(
            # Unique, unlike the request id, which is the client's.
            id=uuid4().hex,
            messages=made.messages,
            sampling=_sampling(query),
            salt=tenant_salt(context.principal.tenant),
            shared=made.shared,
        )
        # The first event comes with the first word: what is wrong before that is simply raised.
        memories: list[UsedMemory] | None = _used(made, found)
        text, tokens = "", 0
        async with aclosing(model.chat(request)) as parts:
            async for part in parts:
                text += part.text
                tokens += len(part.tokens)
                if memories is not None:
                    yield ChatEvent(memories=memories)
                    memories = None
                if part.finish is None:
                    yield ChatEvent(text=part.text)
                    continue
                stored, failed = await self._remember(caller, query, text)
                yield _last(part, tokens, stored, failed)

    async def _found(self, caller: Caller, query: ChatQuery) -> list[Memory]:
        asked = next((one.content for one in reversed(query.messages) if one.role == "user"), "")
        if query.memory is MemoryMode.OFF or not asked.strip():
            return []
        # A question may be longer than a search takes; what is asked is mostly at its end.
        search = SearchQuery(
            query=asked[-32_768:], namespaces=query.namespaces, limit=query.memories
        )
        result = await self._memories.search(caller, search)
        return [hit.memory for hit in result.hits]

    async def _remember(
        self, caller: Caller, query: ChatQuery, answer: str
    ) -> tuple[list[str] | None, str | None]:
        """Stores the user's last turn and the answer; returns their ids, or an error's code."""
        if query.memory is not MemoryMode.READ_WRITE:
            return None, None
        turns = [NewMemory(text=answer, role="assistant", conversation=query.session)]
        if query.messages[-1].role == "user":
            said = query.messages[-1].content
            turns.insert(
                0,
                NewMemory(
                    text=said, role="user", speaker=query.speaker, conversation=query.session
                ),
            )
        place = query.namespaces[0] if query.namespaces else None
        kept = [turn for turn in turns if turn.text.strip()]
        try:
            report = await self._memories.add(caller, kept, place)
        except MemosError as error:
            return None, error.code
        ids = [result.id for result in report.results if result.id is not None]
        problem = next((one.error.code for one in report.failed if one.error), None)
        return ids, problem


def _plan(query: ChatQuery, found: list[Memory]) -> PromptPlan:
    memories = [
        PromptMemory(
            id=memory.id,
            version=memory.version,
            text=_said(memory),
            order=to_micros(memory.event_time or memory.created_at),
            score=-float(place),
        )
        for place, memory in enumerate(found)
    ]
    return plan(
        [ChatMessage(turn.role, turn.content) for turn in query.messages],
        (),
        memories,
        PlanBudget(shared_tokens=0, fresh_tokens=query.memory_tokens),
        _estimated_tokens,
    )


def _said(memory: Memory) -> str:
    speaker = f"{memory.speaker}: " if memory.speaker else ""
    day = f"[{memory.event_time:%Y-%m-%d}] " if memory.event_time else ""
    return f"{day}{speaker}{memory.text}"


def _estimated_tokens(text: str) -> int:
    """Estimates from above: no tokenizer in use takes more than a token for three bytes of text."""
    return len(text.encode()) // 3 + 1


def _used(made: PromptPlan, found: list[Memory]) -> list[UsedMemory]:
    places = {memory.id: memory.namespace for memory in found}
    return [
        UsedMemory(
            id=one.memory.id,
            version=one.memory.version,
            namespace=places[one.memory.id],
            form=Form.PLAINTEXT,
            tokens=one.tokens,
        )
        for one in made.used
    ]


def _sampling(query: ChatQuery) -> Sampling:
    return Sampling(
        max_tokens=query.max_tokens,
        temperature=query.temperature,
        top_p=query.top_p,
        presence_penalty=query.presence_penalty,
        frequency_penalty=query.frequency_penalty,
        stop=tuple(query.stop),
        seed=query.seed,
    )


def _last(
    part: GenerationPart, tokens: int, stored: list[str] | None, failed: str | None
) -> ChatEvent:
    assert part.finish is not None and part.kv is not None
    return ChatEvent(
        text=part.text,
        finish=part.finish.value,
        usage=ChatUsage(
            prompt_tokens=part.kv.prompt_tokens,
            completion_tokens=tokens,
            cached_tokens=part.kv.cached_tokens,
        ),
        stored=stored,
        store_error=failed,
    )
