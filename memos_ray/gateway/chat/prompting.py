"""From a query and what was found for it to a prompt, and to what is known of it afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from memos_ray.core.activation import conversation_name
from memos_ray.core.cube.facets import to_micros
from memos_ray.core.cube.payload import Form
from memos_ray.core.evolution import echoed, repeats
from memos_ray.core.generation import (
    ChatMessage,
    ChatRequest,
    GenerationPart,
    KvUse,
    Sampling,
    estimated_tokens,
)
from memos_ray.core.reader.turns import MAX_TURN_CHARS, MAX_TURNS
from memos_ray.core.scheduling import (
    GivenMemory,
    KeptConversation,
    PlanBudget,
    PromptMemory,
    PromptPlan,
    PromptStart,
    conversation_of,
    goes_on,
    placements,
    plan,
    prompt_line,
    sources_of,
    still_placed,
)
from memos_ray.core.scheduling.choosing import (
    PromptForms,
    PromptSize,
    TokenCosts,
    decide,
    keeps_adapter,
    takes_caches,
)
from memos_ray.core.scheduling.forms import FormDecision, Reason
from memos_ray.core.scheduling.plan import Placing, PlannedMemory
from memos_ray.gateway.chat.models import (
    ChatQuery,
    Explanation,
    MemoryChoice,
    MemoryMode,
    UsedMemory,
)
from memos_ray.gateway.chat.models import Turn as ChatTurn
from memos_ray.gateway.memories.models import Memory
from memos_ray.gateway.memories.turn_models import EarlierTurn

_UNLIMITED = 1 << 40
# Each is a small transaction behind the answer; the best memories come first.
_ECHOES_MOST = 8


def kept_session(query: ChatQuery, *, template: bool) -> str | None:
    """Returns the session whose conversation is kept, if it is.

    The shard of the namespace keeps it, and so must know of every change of its memories: there can
    be only one namespace.
    """
    if query.session is None or query.memory is MemoryMode.OFF or not template:
        return None
    several = query.namespaces is not None and len(query.namespaces) > 1
    return None if several or not goes_on(_messages(query)) else query.session


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt, and what it is made of.

    Attributes:
        home: the namespace that what all prompts begin with comes from.
        session: of the conversation that is kept, if it is.
        exactly: whether the caller has named the adapter, so that the prompt is for no other.
        costs: what tokens have cost lately; nothing while that is not known.
        adapter: why an adapter that there is was left out.
    """

    query: ChatQuery
    plan: PromptPlan
    start: PromptStart
    found: Sequence[Memory]
    home: str
    session: str | None
    template: bool
    exactly: bool = False
    costs: TokenCosts | None = None
    adapter: Reason | None = None

    @staticmethod
    def make(
        query: ChatQuery,
        found: Sequence[Memory],
        start: PromptStart,
        home: str,
        *,
        template: bool,
        exactly: bool = False,
        costs: TokenCosts | None = None,
    ) -> Prompt:
        """Plans a prompt: for an adapter if that knows something, and is not dear in this one."""

        def planned(start: PromptStart, adapter: Reason | None = None) -> Prompt:
            made = Prompt._planned(query, found, start, home, template, exactly)
            return replace(made, costs=costs, adapter=adapter)

        if exactly or start.taught is None:
            return planned(start)
        base = replace(start, taught=None)
        why_not = _why_not(start, query, found)
        if why_not is not None:
            return planned(base, why_not)
        prompt = planned(start)
        if costs is None or keeps_adapter(prompt.size, planned(base).size, costs):
            return prompt
        return planned(base, Reason.DEARER)

    @staticmethod
    def _planned(
        query: ChatQuery,
        found: Sequence[Memory],
        start: PromptStart,
        home: str,
        template: bool,
        exactly: bool,
    ) -> Prompt:
        messages = _messages(query)
        state, taught = start.conversation, start.taught
        candidates = [_prompt_memory(memory, place) for place, memory in enumerate(found)]
        if taught is not None:
            # What the model has learnt otherwise must be said, whether or not it was found.
            ids = {one.id for one in candidates}
            candidates += [replace(one, score=1.0) for one in taught.stale if one.id not in ids]
        made = plan(
            messages,
            start.memories,
            candidates,
            # What is shared was chosen before, and is all there or not at all.
            PlanBudget(shared_tokens=_UNLIMITED, fresh_tokens=query.memory_tokens),
            estimated_tokens,
            kept=None if state is None else still_placed(state, messages),
            learnt=frozenset() if taught is None else taught.known,
        )
        session = None if state is None or start.taught is not None else query.session
        return Prompt(query, made, start, found, home, session, template, exactly)

    @property
    def weights(self) -> object | None:
        """Where the weights lie of the adapter that the prompt is for, if it is for one."""
        return None if self.start.taught is None else self.start.taught.weights

    def untaught(self) -> Prompt:
        """Returns the prompt for the model as it was before it learnt anything."""
        start = replace(self.start, taught=None)
        return Prompt.make(
            self.query, self.found, start, self.home, template=self.template, costs=self.costs
        )

    @property
    def references(self) -> list[object]:
        """Where the KV caches lie that the prompt may begin with; they begin with the template."""
        return list(self.start.caches[1]) if self.template and self._offered else []

    @property
    def size(self) -> PromptSize:
        """How long it is, and how much of it the KV caches stand for that there are."""
        text = sum(estimated_tokens(one.text) for one in self.plan.messages)
        state, cached, there = self.start.conversation, 0, self._there
        if Placing.SHARED in there:
            cached = estimated_tokens(self.plan.shared)
        if Placing.KEPT in there and state is not None:
            cached = max(cached, estimated_tokens("".join(one.text for one in state.pieces)))
        return PromptSize(text, cached)

    def request(self, id: str, salt: str, principal: str) -> ChatRequest:
        """Returns what to ask a replica."""
        state = self.start.conversation
        return ChatRequest(
            id=id,
            messages=self.plan.messages,
            sampling=_sampling(self.query),
            salt=salt,
            shared=self.plan.shared,
            affinity=self._affinity(salt, principal),
            template=self.template,
            adapter="" if self.start.taught is None else self.start.taught.adapter,
            pieces=() if state is None else state.pieces,
            keep=self.session is not None,
        )

    def used(self, use: KvUse | None = None) -> list[UsedMemory]:
        """Returns the memories in the prompt, and in which form they reached the model.

        Args:
            use: what stood in for computing the prompt; before that is known, what was offered.
        """
        came = use is None or not use.refused or use.loaded_tokens > 0
        learnt = [one for one in self.plan.memories if one.placing is Placing.LEARNT]
        cached = self._cached if came else set()
        places = {memory.id: memory.namespace for memory in self.found}
        return [
            UsedMemory(
                id=one.memory.id,
                version=one.memory.version,
                # What is shared or kept comes from the home.
                namespace=places.get(one.memory.id, self.home),
                form=Form.ACTIVATION if one.placing in cached else Form.PLAINTEXT,
                tokens=one.tokens,
            )
            for one in self.plan.used
        ] + [
            UsedMemory(
                id=one.memory.id,
                version=one.memory.version,
                namespace=self.home,
                form=Form.PARAMETER,
                tokens=0,
            )
            for one in learnt
        ]

    def given(self, use: KvUse | None) -> list[GivenMemory]:
        """Returns the memories that the model was given, for the record."""
        return [
            GivenMemory(one.id, one.version, one.namespace, one.form.value, one.tokens)
            for one in self.used(use)
        ]

    def echoes(self, answer: str) -> list[tuple[str, tuple[int, ...]]]:
        """Returns the memories of the home of which parts came back in an answer."""
        known = {one.memory.id for one in self.plan.memories}
        question = self.query.messages[-1].content
        found = [
            (memory.id, echoed(memory.text, question, answer))
            for memory in self.found
            if memory.namespace == self.home and memory.id in known
        ]
        return [(memory_id, parts) for memory_id, parts in found if parts][:_ECHOES_MOST]

    @property
    def repeated(self) -> bool:
        """Whether the user has asked nearly the same before."""
        return repeats([turn.content for turn in self.query.messages if turn.role == "user"])

    def decisions(self, use: KvUse | None = None) -> list[tuple[PlannedMemory, FormDecision]]:
        """Says in which form each memory went in, and why; see `used`."""
        came = use is None or not use.refused or use.loaded_tokens > 0
        refused = {}
        if not self.template:
            refused[Form.ACTIVATION] = Reason.NOT_WANTED
        elif not self._offered:
            refused[Form.ACTIVATION] = Reason.DEARER
        if self.adapter is not None:
            refused[Form.PARAMETER] = self.adapter
        elif self.start.taught is None:
            refused[Form.PARAMETER] = Reason.NO_ADAPTERS
        cached = frozenset(self._cached) if came else frozenset()
        return decide(self.plan.memories, PromptForms(self.costs, cached, refused))

    def explanation(self, use: KvUse | None = None) -> Explanation:
        """Says why the prompt is as it is, of memories that its caller may read."""
        expected, costs = set(self.start.expected), self.costs
        return Explanation(
            adapter=self.adapter,
            caches=None if self._offered else Reason.DEARER,
            computed_token_s=None if costs is None else costs.computed_s,
            loaded_token_s=None if costs is None else costs.loaded_s,
            memories=[
                MemoryChoice(
                    id=one.memory.id,
                    version=one.memory.version,
                    form=decision.form,
                    reason=decision.reason,
                    refused={form: why.value for form, why in decision.refused.items()},
                    costs_s={form: round(cost, 6) for form, cost in decision.costs.items()},
                    preloaded=one.memory.id in expected,
                )
                for one, decision in self.decisions(use)
            ],
        )

    def hits(self) -> list[tuple[str, int]]:
        """Returns the memories of the home that were found, and the tokens of each."""
        tokens = {one.memory.id: one.tokens for one in self.plan.memories}
        return [
            (memory.id, tokens[memory.id])
            for memory in self.found
            if memory.namespace == self.home and memory.id in tokens
        ]

    @property
    def conversation(self) -> str:
        """Tells the conversation from the caller's others."""
        return conversation_of(self.query.session, _messages(self.query))

    def kept(self, last: GenerationPart) -> KeptConversation | None:
        """Returns what the conversation goes on from, if it is kept."""
        if self.session is None:
            return None
        return KeptConversation(
            session=self.session,
            placed=placements(_messages(self.query), self.plan.placed),
            pieces=last.said,
            sources=sources_of([one.memory for one in self.plan.used]),
            shared=self.start.kv,
        )

    @property
    def _offered(self) -> bool:
        """Whether the caches that there are are brought, and not computed anew."""
        cached = self.size.cached
        return not cached or takes_caches(cached, self.costs)

    @property
    def _cached(self) -> set[Placing]:
        """What of the prompt is in the caches that it is offered."""
        return self._there if self._offered else set()

    @property
    def _there(self) -> set[Placing]:
        """What of the prompt is in the caches that there are."""
        start, taught = self.start, self.start.taught
        if not self.template:
            return set()
        found = set()
        if (start if taught is None else taught).kv is not None:
            found.add(Placing.SHARED)
        if taught is None and start.conversation is not None and start.conversation.kv:
            found.add(Placing.KEPT)
        return found

    def _affinity(self, salt: str, principal: str) -> tuple[str, ...]:
        """Names what a replica may hold of a request, the most specific last."""
        offered = self.template and self._offered
        names = [manifest.name for manifest in self.start.caches[0]] if offered else []
        if self.query.session is not None:
            names.append(conversation_name(salt, principal, self.query.session))
        return tuple(names)


def _why_not(start: PromptStart, query: ChatQuery, found: Sequence[Memory]) -> Reason | None:
    """Says why an adapter is left out, whatever it costs: it must know something that was found."""
    if not query.adapters:
        return Reason.NOT_WANTED
    known = frozenset() if start.taught is None else start.taught.known
    knows = any((memory.id, memory.version) in known for memory in found)
    return None if knows else Reason.NOT_LEARNT


def earlier_turns(messages: Sequence[ChatTurn]) -> list[EarlierTurn]:
    """Returns what was said before the last thing that the user said, as far as it can matter."""
    last = max((i for i, one in enumerate(messages) if one.role == "user"), default=0)
    said = [one for one in messages[:last] if one.role != "system" and one.content.strip()]
    return [
        EarlierTurn.model_construct(
            role="user" if one.role == "user" else "assistant", content=one.content[:MAX_TURN_CHARS]
        )
        for one in said[-MAX_TURNS:]
    ]


def _messages(query: ChatQuery) -> list[ChatMessage]:
    return [ChatMessage(turn.role, turn.content) for turn in query.messages]


def _prompt_memory(memory: Memory, place: int) -> PromptMemory:
    return PromptMemory(
        id=memory.id,
        version=memory.version,
        text=prompt_line(memory.text, memory.speaker, memory.event_time),
        order=to_micros(memory.event_time or memory.created_at),
        score=-float(place),
    )


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
