"""Running conversations: what their prompts have had, and the KV caches of that."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from memos_ray.actors.activation.kv_library import KvLibrary, KvName, KvObject
from memos_ray.actors.vault.residency import Place
from memos_ray.core.activation import KvManifest, KvScope, PrefixChain, tenant_salt
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.facets import facets_of
from memos_ray.core.cube.predicate import Predicate, evaluate
from memos_ray.core.defects import describe_defect
from memos_ray.core.generation import TextPiece
from memos_ray.core.scheduling import (
    ConversationState,
    KeptConversation,
    Placed,
    holds,
    prompt_memory,
)
from memos_ray.core.vault.log import Commit, CubeKey
from memos_ray.errors import InvalidInputError, MemosError
from memos_ray.ports import ClockPort, KvBuilderPort, RecordStorePort

_TOKEN_BYTES = 40
_MOST_PIECES = 16
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConversationKey:
    """Whose conversation it is: nobody else goes on with it."""

    place: Place
    model: str
    principal: str
    session: str

    @property
    def name(self) -> KvName:
        """Names its caches."""
        # The principal's length, so that no session can pass for another principal's.
        session = f"{len(self.principal)}:{self.principal}:{self.session}"
        return KvName(self.place, self.model, (), session)


@dataclass(frozen=True, slots=True)
class _Known:
    placed: tuple[Placed, ...]
    pieces: tuple[TextPiece, ...]
    sources: frozenset[str]

    @property
    def memory_bytes(self) -> int:
        tokens = sum(len(piece.tokens) for piece in self.pieces)
        return sum(len(piece.text) for piece in self.pieces) + tokens * _TOKEN_BYTES


class Conversations:
    """Keeps conversations within a byte budget; whatever is forgotten is computed again.

    A conversation is forgotten as soon as a memory that its prompts had is changed, deleted or
    erased; so its text and its caches never outlive that.

    Attributes:
        counters: `conversations_kept` turns, `conversations_outdated` by a change of a memory, and
            `conversations_evicted` for want of room.

    Eviction: the conversation that was longest silent; caches by the library's policy.

    Concurrency: methods run on the actor's event loop; the store is asked on `executor`. One cache
    of a conversation is computed at a time.
    """

    def __init__(
        self,
        *,
        store: RecordStorePort,
        builder: KvBuilderPort | None,
        library: KvLibrary,
        clock: ClockPort,
        executor: Executor,
        budget_bytes: int,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._store = store
        self._builder = builder
        self._library = library
        self._clock = clock
        self._executor = executor
        self._budget = budget_bytes
        self._bytes = 0
        self._known: OrderedDict[ConversationKey, _Known] = OrderedDict()
        self._by_source: defaultdict[CubeKey, set[ConversationKey]] = defaultdict(set)
        self._keeping: dict[ConversationKey, asyncio.Task[None]] = {}
        self._next: dict[ConversationKey, KeptConversation] = {}

    def __len__(self) -> int:
        return len(self._known)

    async def find(
        self, key: ConversationKey, visible: Predicate
    ) -> tuple[ConversationState, tuple[object, ...], list[MemCube]]:
        """Returns a conversation, references to its caches, and the memories in it that hold.

        Args:
            visible: what the caller may read now.
        """
        known = self._known.get(key)
        if known is None:
            return ConversationState(), (), []
        self._known.move_to_end(key)
        wanted = {(one.cube_id, one.version) for placed in known.placed for one in placed.memories}
        keys = [CubeKey(key.place.tenant, cube_id) for cube_id, _ in sorted(wanted)]
        found = await asyncio.get_running_loop().run_in_executor(
            self._executor, self._store.heads, key.place.partition, keys
        )
        now = self._clock.now()
        heads = [
            head
            for head in found.values()
            if (head.id, head.version.number) in wanted
            and holds(head, now)
            and evaluate(visible, facets_of(head))
        ]
        objects = self._library.use(key.name) or ()
        state = ConversationState(
            placed=known.placed,
            texts=tuple(map(prompt_memory, heads)),
            pieces=known.pieces,
            kv=tuple(one.manifest for one in objects),
        )
        return state, tuple(one.reference for one in objects), heads

    def keep(self, key: ConversationKey, turn: KeptConversation) -> None:
        """Notes what a prompt had, and has the cache of it computed behind the answer."""
        self._forget(key, caches=False)
        sources = frozenset(one.cube_id for one in turn.sources)
        known = _Known(turn.placed, turn.pieces, sources)
        self._known[key] = known
        self.counters["conversations_kept"] += 1
        self._bytes += known.memory_bytes
        for cube_id in sources:
            self._by_source[CubeKey(key.place.tenant, cube_id)].add(key)
        while self._bytes > self._budget and len(self._known) > 1:
            self._forget(next(iter(self._known)))
            self.counters["conversations_evicted"] += 1
            _log.info("a conversation is let go of: %d bytes are kept", self._bytes)
        if self._builder is None or not turn.pieces:
            return
        self._next[key] = turn
        if key not in self._keeping:
            keeping = asyncio.create_task(self._keep(key))
            keeping.add_done_callback(lambda _: self._keeping.pop(key, None))
            self._keeping[key] = keeping

    def apply(self, commit: Commit) -> None:
        """Forgets the conversations that had what a commit changes."""
        changed = commit.touched
        for one in changed:
            for key in list(self._by_source.get(one, ())):
                if key.place.partition == commit.partition:
                    self._forget(key)
                    self._library.outdated(key.name)
                    self.counters["conversations_outdated"] += 1

    def drop(self, partition: int) -> None:
        """Forgets a partition that this shard no longer owns."""
        for key in [key for key in self._known if key.place.partition == partition]:
            self._forget(key)

    async def close(self) -> None:
        """Stops computing caches."""
        keeping = list(self._keeping.values())
        for task in keeping:
            task.cancel()
        await asyncio.gather(*keeping, return_exceptions=True)

    def _forget(self, key: ConversationKey, *, caches: bool = True) -> None:
        known = self._known.pop(key, None)
        if known is not None:
            self._bytes -= known.memory_bytes
            for cube_id in known.sources:
                source = CubeKey(key.place.tenant, cube_id)
                self._by_source[source].discard(key)
                if not self._by_source[source]:
                    del self._by_source[source]
        if caches:
            self._next.pop(key, None)
            self._library.let_go(key.name)

    async def _keep(self, key: ConversationKey) -> None:
        while (turn := self._next.pop(key, None)) is not None:
            try:
                await self._extend(key, turn)
            except InvalidInputError:
                # Less than a block is new.
                continue
            except MemosError as error:
                _log.warning("a conversation's KV cache was not kept: %s", error.code)
            except Exception as error:
                _log.warning("a conversation's KV cache was not kept: %s", describe_defect(error))

    async def _extend(self, key: ConversationKey, turn: KeptConversation) -> None:
        assert self._builder is not None
        tokens = tuple(token for piece in turn.pieces for token in piece.tokens)
        salt = tenant_salt(key.place.tenant)
        objects = self._library.objects(key.name)
        kept, start = _that_fit(turn.shared, objects, tokens, salt)
        if len(kept) >= _MOST_PIECES:
            # In one piece again.
            kept, start = _that_fit(turn.shared, (), tokens, salt)
        begin = kept[0].manifest.start if kept else start
        if not self._library.admits(key.name, len(tokens) - begin):
            # It would have to go at once.
            return
        manifest, reference = await self._builder.extend(
            key.model, tokens, salt=salt, start=start, sources=turn.sources
        )
        if key not in self._known:
            # Forgotten meanwhile. A newer turn, though, goes on from here.
            return
        made = (*kept, KvObject(manifest, reference))
        self._library.hold(key.name, made, self._library.estimate_s(manifest.tokens - begin))


def _that_fit(
    shared: KvManifest | None, objects: Sequence[KvObject], tokens: tuple[int, ...], salt: str
) -> tuple[tuple[KvObject, ...], int]:
    """Returns the caches that this conversation's tokens go on from, and where they end."""
    first = shared or (objects[0].manifest if objects else None)
    if first is None:
        return (), 0
    chain = PrefixChain(KvScope(first.model, salt), tokens)
    end = 0
    if shared is not None and chain.key(shared.tokens) == shared.key:
        end = shared.tokens
    kept: list[KvObject] = []
    for one in objects:
        manifest = one.manifest
        if manifest.start > end or chain.key(manifest.tokens) != manifest.key:
            break
        kept.append(one)
        end = manifest.tokens
    return tuple(kept), end
