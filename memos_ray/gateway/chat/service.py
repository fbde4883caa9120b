"""Conversations with memory: find, plan, answer, remember."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from uuid import uuid4

from memos_ray.core.activation import tenant_salt
from memos_ray.core.generation import GenerationPart, KvUse
from memos_ray.core.scheduling import PromptStart
from memos_ray.core.scheduling.choosing import CostMeter
from memos_ray.errors import InvalidInputError, MemosError, NotFoundError
from memos_ray.gateway.activation.service import ActivationService
from memos_ray.gateway.callers import Authenticator, Caller
from memos_ray.gateway.chat.model_ids import resolve
from memos_ray.gateway.chat.models import (
    ChatAnswer,
    ChatEvent,
    ChatQuery,
    ChatUsage,
    MemoryMode,
    whole,
)
from memos_ray.gateway.chat.prompting import Prompt, earlier_turns, kept_session
from memos_ray.gateway.memories.models import Memory, NewMemory, SearchQuery
from memos_ray.gateway.memories.service import MemoryService
from memos_ray.gateway.personas.defaults import as_persona_speaks
from memos_ray.ports import ClockPort, ModelPort

FormWatcher = Callable[[str, Mapping[tuple[str, str], int]], None]
"""Is told a model's name and, by form and reason, how many memories went into a prompt."""

_log = logging.getLogger(__name__)


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
        clock: ClockPort,
    ) -> None:
        self._authenticator = authenticator
        self._memories = memories
        self._activation = activation
        self._models = models
        self._clock = clock
        self._learning: set[asyncio.Task[None]] = set()
        self._meters: dict[str, CostMeter] = {}
        self._watchers: list[Callable[[str, KvUse], None]] = []
        self._form_watchers: list[FormWatcher] = []

    def watch(self, watcher: Callable[[str, KvUse], None]) -> None:
        """Has somebody told, for each answer, its model and what stood in for its prompt."""
        self._watchers.append(watcher)

    def watch_forms(self, watcher: FormWatcher) -> None:
        """Has somebody told, for each answer, its model, and how many memories went in how."""
        self._form_watchers.append(watcher)

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
            NotFoundError: there is no such model, or no such adapter of it.
            InvalidInputError: the conversation does not fit the model, or the adapter does not.
            OverloadedError: too many requests wait for the model.
            UnavailableError: the model or the memory does not answer.
        """
        context, policy = await self._authenticator.context(caller)
        scope = policy.scope(context, self._clock.now())
        query = as_persona_speaks(query, policy.persona(context), scope)
        named = resolve(query.model, self._models)
        if named is None:
            raise NotFoundError("there is no such model", model=query.model, known=self.models)
        if named.adapter is not None and not query.adapters:
            raise InvalidInputError("an adapter is named, and none wanted", field="adapters")
        wanted = query.adapters and not named.bare
        query = query.model_copy(update={"model": named.base, "adapters": wanted})
        model = self._models[named.base]
        home = query.namespaces[0] if query.namespaces else context.home
        session = kept_session(query, template=template)
        found, start, response = await asyncio.gather(
            self._found(caller, query),
            self._start(caller, query, session, named.adapter),
            self._activation.response_id(caller, home),
        )
        exactly = named.adapter is not None
        meter = self._meters.setdefault(named.base, CostMeter())
        prompt = Prompt.make(
            query, found, start, home, template=template, exactly=exactly, costs=meter.costs
        )
        salt = tenant_salt(context.principal.tenant)
        # The first event comes with the first word: what is wrong before that is simply raised.
        begun, text, tokens = False, "", 0
        asked_at, first_s = self._clock.monotonic(), 0.0
        async with aclosing(_answered(model, prompt, salt, context.principal.id)) as parts:
            async for prompt, part in parts:
                text += part.text
                tokens += len(part.tokens)
                if not begun:
                    first_s = self._clock.monotonic() - asked_at
                    yield ChatEvent(memories=prompt.used(), response=response)
                    begun = True
                if part.finish is None:
                    yield ChatEvent(text=part.text)
                    continue
                if part.kv is not None:
                    _measure(meter, prompt, part.kv, first_s)
                self._learn(caller, prompt, part, response, text)
                yield await self._ended(caller, prompt, part, text, tokens)

    async def settle(self) -> None:
        """Returns when everything has been learnt from the answers so far."""
        while self._learning:
            await asyncio.wait(self._learning)

    async def close(self) -> None:
        """Ends what is being learnt from answers."""
        learning = list(self._learning)
        for task in learning:
            task.cancel()
        await asyncio.gather(*learning, return_exceptions=True)

    async def _ended(
        self, caller: Caller, prompt: Prompt, part: GenerationPart, text: str, tokens: int
    ) -> ChatEvent:
        """Counts an answer and has it remembered; returns the last event of it."""
        query = prompt.query
        if part.kv is not None:
            for watcher in self._watchers:
                watcher(query.model, part.kv)
        self._tell_forms(query.model, prompt, part.kv)
        stored, failed = await self._remember(caller, query, text)
        last = _last(part, tokens, stored, failed)
        if prompt.used(part.kv) != prompt.used():
            # A cache did not fit, and the text was computed after all.
            last = last.model_copy(update={"memories": prompt.used(part.kv)})
        if query.explain:
            last = last.model_copy(update={"explanation": prompt.explanation(part.kv)})
        return last

    def _tell_forms(self, model: str, prompt: Prompt, use: KvUse | None) -> None:
        """Counts and logs in which forms memories went in; nothing of what they say."""
        forms = Counter(
            ("none" if one.form is None else one.form.value, one.reason.value)
            for _, one in prompt.decisions(use)
        )
        if not forms:
            return
        for watcher in self._form_watchers:
            watcher(model, forms)
        said = ", ".join(f"{count} {form}: {why}" for (form, why), count in sorted(forms.items()))
        adapter = f"; no adapter: {prompt.adapter.value}" if prompt.adapter else ""
        _log.info("a prompt for %s took %s%s", model, said, adapter)

    def _learn(
        self, caller: Caller, prompt: Prompt, last: GenerationPart, response: str, text: str
    ) -> None:
        """Has the shard learn from an answer, and note what it was given, behind it."""
        hits, kept, given = prompt.hits(), prompt.kept(last), prompt.given(last.kv)
        if not hits and kept is None and not given:
            return

        async def learn() -> None:
            query = prompt.query
            try:
                await self._activation.answered(
                    caller,
                    query.model,
                    prompt.home,
                    hits,
                    kept,
                    prompt.conversation,
                    response,
                    given,
                    prompt.echoes(text),
                    prompt.repeated,
                )
            except MemosError as error:
                # The next prompt is computed from its text.
                _log.info("nothing was learnt from an answer: %s", error.code)

        task = asyncio.create_task(learn())
        self._learning.add(task)
        task.add_done_callback(self._learning.discard)

    async def _found(self, caller: Caller, query: ChatQuery) -> list[Memory]:
        asked = next((one.content for one in reversed(query.messages) if one.role == "user"), "")
        if query.memory is MemoryMode.OFF or not asked.strip():
            return []
        # A question may be longer than a search takes; what is asked is mostly at its end.
        search = SearchQuery(
            query=asked[-32_768:],
            namespaces=query.namespaces,
            limit=query.memories,
            turns=earlier_turns(query.messages),
        )
        result = await self._memories.search(caller, search)
        return [hit.memory for hit in result.hits]

    async def _start(
        self, caller: Caller, query: ChatQuery, session: str | None, adapter: str | None
    ) -> PromptStart:
        off = query.memory is MemoryMode.OFF
        if off and adapter is None:
            return PromptStart()
        place = query.namespaces[0] if query.namespaces else None
        start = await self._activation.start_prompt(caller, query.model, place, session, adapter)
        if off and start.taught is not None:
            # With the adapter, and without a word in front, what has changed included.
            return PromptStart(taught=replace(start.taught, stale=(), kv=None, reference=None))
        return start

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


async def _answered(
    model: ModelPort, prompt: Prompt, salt: str, principal: str
) -> AsyncGenerator[tuple[Prompt, GenerationPart], None]:
    """Yields an answer with the prompt that it is to: without an adapter that cannot be had."""
    begun = False
    try:
        async with aclosing(_asked(model, prompt, salt, principal)) as parts:
            async for part in parts:
                begun = True
                yield prompt, part
        return
    except (NotFoundError, InvalidInputError) as error:
        if begun or prompt.weights is None or prompt.exactly:
            raise
        _log.warning("an adapter was not used: %s", error.code)
    prompt = prompt.untaught()
    async with aclosing(_asked(model, prompt, salt, principal)) as parts:
        async for part in parts:
            yield prompt, part


def _measure(meter: CostMeter, prompt: Prompt, use: KvUse, first_s: float) -> None:
    """Learns what tokens cost, as they are estimated before they are counted."""
    if use.prompt_tokens:
        scale = prompt.size.text / use.prompt_tokens
        computed = use.prompt_tokens - use.cached_tokens
        meter.note(computed * scale, use.loaded_tokens * scale, first_s)


def _asked(
    model: ModelPort, prompt: Prompt, salt: str, principal: str
) -> AsyncGenerator[GenerationPart, None]:
    # Unique, unlike the request id, which is the client's.
    request = prompt.request(uuid4().hex, salt, principal)
    return model.chat(request, prompt.references, prompt.weights)


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
