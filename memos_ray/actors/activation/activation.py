"""What a shard answers about activation memory, judged by policy and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from memos_ray.actors.activation.conversations import ConversationKey, Conversations
from memos_ray.actors.activation.kv_caches import KvCaches
from memos_ray.actors.activation.kv_library import KvLibrary, KvName
from memos_ray.actors.activation.preloading import Preloader
from memos_ray.actors.activation.promoting import Promoter, Writing
from memos_ray.actors.activation.shared_blocks import SharedBlocks, activation_of
from memos_ray.actors.policy.guard import PolicyGuard
from memos_ray.actors.vault.reading import RecordReader
from memos_ray.actors.vault.residency import Place
from memos_ray.actors.vault.usage import UsageLedger
from memos_ray.core.access.context import Action, CallContext
from memos_ray.core.access.policy import no_memory
from memos_ray.core.activation import CacheReport
from memos_ray.core.cube.facets import facets_of
from memos_ray.core.cube.payload import Form
from memos_ray.core.cube.predicate import Nothing
from memos_ray.core.scheduling import (
    AnsweredPrompt,
    Promoting,
    PromptStart,
    Taught,
    conversation_of,
)
from memos_ray.core.vault.log import Commit, CubeKey
from memos_ray.core.vault.operations import Write, Written
from memos_ray.core.vault.planning import Submission
from memos_ray.core.vault.requests import ConvertRequest
from memos_ray.errors import InvalidInputError, MemosError
from memos_ray.ports import ClockPort


class ActivationMemory:
    """What a shard knows of prompts, and their caches, for who may read their memories.

    Concurrency: runs on the actor's event loop.
    """

    def __init__(
        self,
        blocks: SharedBlocks,
        caches: KvCaches,
        conversations: Conversations,
        library: KvLibrary,
        preloader: Preloader,
        *,
        reader: RecordReader,
        guard: PolicyGuard,
        usage: UsageLedger,
        clock: ClockPort,
        write: Writing,
        rules: Mapping[str, Promoting],
        pause_s: float,
    ) -> None:
        self._blocks = blocks
        self._caches = caches
        self._conversations = conversations
        self._library = library
        self._preloader = preloader
        self._reader = reader
        self._guard = guard
        self._usage = usage
        self._clock = clock
        self._write = write
        self.promoter = Promoter(
            rules, pause_s, blocks=blocks, clock=clock, convert=self.convert, write=write
        )

    @property
    def counters(self) -> Counter[str]:
        """What was done with caches, conversations and forecasts."""
        parts = (self._caches, self._conversations, self.promoter, self._preloader)
        return sum((one.counters for one in parts), Counter())

    @property
    def hot_bytes(self) -> int:
        """Bytes of KV caches in the object store."""
        return self._library.memory_bytes

    @property
    def rest_bytes(self) -> int:
        """Bytes of KV caches at rest."""
        return self._caches.rest_bytes

    @property
    def conversations(self) -> int:
        """How many conversations are kept."""
        return len(self._conversations)

    def prefill_s(self, tokens: int) -> float:
        """Returns how long computing tokens takes, by what was learnt."""
        return self._library.estimate_s(tokens)

    async def start_prompt(
        self,
        partition: int,
        context: CallContext,
        namespace: str,
        model: str,
        session: str | None,
        taught: Taught | None = None,
        *,
        exactly: bool = False,
    ) -> PromptStart:
        """Returns what a prompt begins with; see `ShardPort`.

        Args:
            taught: what the model has learnt of the namespace, if the caller may have it.
            exactly: whether the prompt is for that and nothing else.
        """
        policy = await self._guard.ensure_for(context)
        now = self._clock.now()
        visible = policy.permit(context, Action.READ, namespace, now)
        if isinstance(visible, Nothing):
            return PromptStart(taught=taught)
        place = Place(partition, context.principal.tenant, namespace)
        found, read = await self._blocks.find(place, model, visible, taught, exactly=exactly)
        there = [found.kv, found.taught.kv if found.taught else None]
        cached = frozenset(
            source.cube_id for one in there if one is not None for source in one.sources
        )
        if session is not None:
            key = ConversationKey(place, model, context.principal.id, session)
            state, references, kept = await self._conversations.find(key, visible)
            found = replace(found, conversation=state, references=(*found.references, *references))
            read = [*read, *kept]
            expected = self._preloader.ready(place, key.principal, conversation_of(session, ()))
            found = replace(found, expected=tuple(sorted(expected)))
        self._usage.read(
            partition,
            context,
            "chat",
            namespace,
            read,
            now,
            cached=cached,
            detail={"model": model, "kv": bool(cached)},
        )
        return found

    async def answered(self, partition: int, answered: AnsweredPrompt) -> None:
        """Learns from an answered prompt; see `ShardPort`."""
        context, namespace = answered.context, answered.namespace
        self._usage.answered(partition, answered, self._clock.now())
        policy = await self._guard.ensure_for(context)
        visible = policy.permit(context, Action.READ, namespace, self._clock.now())
        if isinstance(visible, Nothing):
            return
        place = Place(partition, context.principal.tenant, namespace)
        kept = answered.kept
        if kept is not None:
            key = ConversationKey(place, answered.model, context.principal.id, kept.session)
            self._conversations.keep(key, kept)
        self._library.asked(place, [cube_id for cube_id, _ in answered.hits])
        self.promoter.note(place, answered)
        self._preloader.note(place, answered)

    async def convert(self, partition: int, request: ConvertRequest) -> Written:
        """Makes a block of memories and its KV cache; see `ShardPort`."""
        context, namespace = request.context, request.namespace
        found = await self._reader.get(partition, context, request.ids)
        heads = [head for head in found if head is not None and head.namespace == namespace]
        if len(heads) < len(request.ids) or not heads:
            raise no_memory()
        # Before a replica is kept busy with it.
        policy = await self._guard.ensure_for(context)
        policy.require_namespace(context, Action.CREATE, namespace, self._clock.now())
        place = Place(partition, context.principal.tenant, namespace)
        manifest = await self._blocks.build(place, request.model, heads)
        write = Write(namespace, activation_of(request, heads, manifest), reason=request.reason)
        (outcome,) = await self._write(partition, [Submission(context, write)])
        if isinstance(outcome, MemosError):
            raise outcome
        return outcome

    def touching(self, partition: int, key: CubeKey) -> list[KvName]:
        """Returns the caches that were computed from a memory, hot and at rest."""
        changed = {key.tenant: {key.id}}
        return [
            name
            for name in self._caches.names
            if name.place.partition == partition and name.touches(changed)
        ]

    def apply(self, commit: Commit) -> None:
        """Lets go of what a commit has outdated."""
        self._blocks.apply(commit)
        self._caches.apply(commit)
        self._conversations.apply(commit)

    def open(self, partition: int, epoch: int) -> None:
        """Takes over what rests of a partition that this shard owns now."""
        self._caches.open(partition, epoch)

    def drop(self, partition: int) -> None:
        """Forgets a partition that this shard no longer owns."""
        self._blocks.drop(partition)
        self._caches.drop(partition)
        self._conversations.drop(partition)
        self.promoter.drop(partition)
        self._preloader.drop(partition)

    async def settle(self) -> None:
        """Returns when the caches that were to be written are there; others may follow."""
        await self._caches.close()

    async def close(self) -> None:
        """Ends what is under way, and returns when what was to be written is there."""
        await self._preloader.close()
        await self._conversations.close()
        await self._caches.close()

    async def caches(
        self, partition: int, context: CallContext, namespace: str, ids: Sequence[str] | None
    ) -> list[CacheReport]:
        """Says what is known of a namespace's KV caches; see `ShardPort`."""
        policy = await self._guard.ensure_for(context)
        now = self._clock.now()
        visible = policy.require_namespace(context, Action.READ, namespace, now)
        place = Place(partition, context.principal.tenant, namespace)
        return await self._blocks.reports(place, visible, ids)

    async def evict(self, partition: int, context: CallContext, cube_id: str) -> CacheReport:
        """Lets go of a KV cache; see `ShardPort`."""
        (block,) = await self._reader.get(partition, context, [cube_id])
        if block is None:
            raise no_memory()
        policy = await self._guard.ensure_for(context)
        now = self._clock.now()
        policy.require(context, Action.UPDATE, facets_of(block), block.namespace, now)
        if block.payload.form is not Form.ACTIVATION:
            raise InvalidInputError("this is not an activation memory", id=cube_id)
        place = Place(partition, context.principal.tenant, block.namespace)
        await self._blocks.evict(place, block)
        self._usage.read(partition, context, "evict", block.namespace, [block], now)
        visible = policy.permit(context, Action.READ, block.namespace, now)
        reports = await self._blocks.reports(place, visible, [cube_id])
        if not reports:
            raise no_memory()
        return reports[0]
