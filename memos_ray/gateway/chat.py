"""Conversations with memory: find, plan, answer, remember."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from uuid import uuid4

from memos_ray.core.activation import conversation_name, tenant_salt
from memos_ray.core.cube.facets import to_micros
from memos_ray.core.cube.payload import Form
from memos_ray.core.generation import (
    ChatMessage,
    ChatRequest,
    GenerationPart,
    KvUse,
    Sampling,
    estimated_tokens,
)
from memos_ray.core.scheduling import (
    PlanBudget,
    PromptMemory,
    PromptPlan,
    SharedMemories,
    plan,
    prompt_line,
)
from memos_ray.core.scheduling.plan import Placing
from memos_ray.errors import MemosError, NotFoundError
from memos_ray.gateway.activation import ActivationService
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

_UNLIMITED = 1 << 40


class ChatService:
    """Answers conversations.

    Every method takes the `Caller`; a memory reaches the prompt only when this caller may read it.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        memories: MemoryService,
        activation: ActivationService,
        models: Mapping[str, ModelPort],
    ) -> None:
        self._authenticator = authenticator
        self._memories = memories
        self._activation = activation
        self._models = models
        self._watchers: list[Callable[[str, KvUse], None]] = []

    def watch(self, watcher: Callable[[str, KvUse], None]) -> None:
        """Has somebody told, for each answer, its model and what stood in for its prompt."""
        self._watchers.append(watcher)

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

    async def chat(self, caller: Caller, query: ChatQuery, *, template: bool = True) -> ChatAnswer:
        """Returns a whole answer; see `stream`."""
        return await whole(self.stream(caller, query, template=template))

    async def stream(
        self, caller: Caller, query: ChatQuery, *, template: bool = True
    ) -> AsyncGenerator[ChatEvent, None]:
        """Yields an answer as it comes; leaving early cancels it, and then nothing is remembered.

        Args:
            template: whether the model's chat template is applied. Without it the memories stand
                above the messages as text; KV caches begin with the template and would not fit.

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
        found, shared = await asyncio.gather(
            self._found(caller, query), self._shared(caller, query)
        )
        if not template:
            # KV caches begin with the template.
            shared = SharedMemories(shared.memories)
        made = _plan(query, found, shared)
        salt = tenant_salt(context.principal.tenant)
        request = ChatRequest(
            # Unique, unlike the request id, which is the client's.
            id=uuid4().hex,
            messages=made.messages,
            sampling=_sampling(query),
            salt=salt,
            shared=made.shared,
            affinity=_affinity(query, shared, salt, context.principal.id),
            template=template,
        )
        kv = [] if shared.reference is None else [shared.reference]
        # The first event comes with the first word: what is wrong before that is simply raised.
        home = query.namespaces[0] if query.namespaces else context.principal.id
        memories: list[UsedMemory] | None = _used(made, found, home, bool(kv))
        text, tokens = "", 0
        async with aclosing(model.chat(request, kv)) as parts:
            async for part in parts:
                text += part.text
                tokens += len(part.tokens)
                if memories is not None:
                    yield ChatEvent(memories=memories)
                    memories = None
                if part.finish is None:
                    yield ChatEvent(text=part.text)
                    continue
                if part.kv is not None:
                    for watcher in self._watchers:
                        watcher(query.model, part.kv)
                stored, failed = await self._remember(caller, query, text)
                last = _last(part, tokens, stored, failed)
                if kv and part.kv is not None and part.kv.refused:
                    # The cache did not fit, and the text was computed after all.
                    corrected = _used(made, found, home, cached=False)
                    last = last.model_copy(update={"memories": corrected})
                yield last

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

    async def _shared(self, caller: Caller, query: ChatQuery) -> SharedMemories:
        if query.memory is MemoryMode.OFF:
            return SharedMemories()
        place = query.namespaces[0] if query.namespaces else None
        return await self._activation.shared(caller, query.model, place)

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


def _plan(query: ChatQuery, found: list[Memory], shared: SharedMemories) -> PromptPlan:
    memories = [
        PromptMemory(
            id=memory.id,
            version=memory.version,
            text=prompt_line(memory.text, memory.speaker, memory.event_time),
            order=to_micros(memory.event_time or memory.created_at),
            score=-float(place),
        )
        for place, memory in enumerate(found)
    ]
    return plan(
        [ChatMessage(turn.role, turn.content) for turn in query.messages],
        shared.memories,
        memories,
        # What is shared was chosen before, and is all there or not at all.
        PlanBudget(shared_tokens=_UNLIMITED, fresh_tokens=query.memory_tokens),
        estimated_tokens,
    )


def _affinity(
    query: ChatQuery, shared: SharedMemories, salt: str, principal: str
) -> tuple[str, ...]:
    names = [] if shared.kv is None else [shared.kv.name]
    if query.session is not None:
        names.append(conversation_name(salt, principal, query.session))
    return tuple(names)


def _used(made: PromptPlan, found: list[Memory], home: str, cached: bool) -> list[UsedMemory]:
    places = {memory.id: memory.namespace for memory in found}
    return [
        UsedMemory(
            id=one.memory.id,
            version=one.memory.version,
            # What is shared comes from the first namespace.
            namespace=places.get(one.memory.id, home),
            form=Form.ACTIVATION if cached and one.placing is Placing.SHARED else Form.PLAINTEXT,
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
            completion_tokens=tokens if part.answer_tokens is None else part.answer_tokens,
            cached_tokens=part.kv.cached_tokens,
        ),
        stored=stored,
        store_error=failed,
    )
