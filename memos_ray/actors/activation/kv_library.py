"""The KV caches that a shard holds in the object store, within its budgets."""

from __future__ import annotations

import logging
from collections.abc import Collection, Hashable, Iterable, Mapping, Set
from dataclasses import dataclass

from memos_ray.actors.vault.residency import Place
from memos_ray.core.activation import KvManifest, SourceVersion
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.generation import estimated_tokens
from memos_ray.core.lifecycle.states import GONE
from memos_ray.core.scheduling.policies import Budget, Holding, Keeper, RetentionPolicy
from memos_ray.core.vault.log import CubeKey
from memos_ray.ports import ClockPort

SHARED = "shared"
"""Label of caches that all prompts of a namespace begin with."""
CONVERSATION = "conversation"
"""Label of caches of one conversation."""

_TOKEN_S = 1e-3
_LEARNING = 0.3
# Of the estimate from above: at six bytes a token it is twice too many.
_TOKEN_SHARE = 0.5
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KvAdapter:
    """With which adapter a cache was computed.

    Attributes:
        id: of its parameter memory.
        digest: of its content.
        learnt: the memories that it was made of, at the versions that there are now.
    """

    id: str
    digest: str
    learnt: tuple[SourceVersion, ...]


@dataclass(frozen=True, slots=True)
class KvName:
    """What a cache was computed from: any change of a memory makes another name.

    Attributes:
        model: as callers name it.
        sources: the memories inside, in the order of the prompt.
        session: of the conversation that it is part of; empty for what everybody shares.
        adapter: nothing for a cache of the base.
    """

    place: Place
    model: str
    sources: tuple[SourceVersion, ...]
    session: str = ""
    adapter: KvAdapter | None = None

    @property
    def origins(self) -> tuple[SourceVersion, ...]:
        """The memories that went into the numbers: those inside, and those that were learnt."""
        return self.sources if self.adapter is None else self.sources + self.adapter.learnt

    @property
    def keys(self) -> list[CubeKey]:
        """The memories that must be there for the cache to be."""
        ids = [one.cube_id for one in self.origins]
        if self.adapter is not None:
            ids.append(self.adapter.id)
        return [CubeKey(self.place.tenant, cube_id) for cube_id in dict.fromkeys(ids)]

    @property
    def label(self) -> str:
        """Of which kind it is."""
        return CONVERSATION if self.session else SHARED

    @property
    def kin(self) -> Hashable:
        """The same for all versions of its memories."""
        ids = tuple(source.cube_id for source in self.sources)
        adapter = None if self.adapter is None else self.adapter.id
        return self.place, self.model, ids, self.session, adapter

    def touches(self, changed: Mapping[str, Set[str]]) -> bool:
        """Tells whether something that it was computed from has changed, by tenant."""
        ids = changed.get(self.place.tenant)
        if ids is None:
            return False
        learnt = self.adapter is not None and self.adapter.id in ids
        return learnt or any(source.cube_id in ids for source in self.origins)

    def holds(self, heads: Iterable[MemCube]) -> bool:
        """Tells whether everything that it was computed from is as it was.

        Args:
            heads: what there is now of `keys`.
        """
        there = {head.id: head.version.number for head in heads if head.state not in GONE}
        if self.adapter is not None and self.adapter.id not in there:
            return False
        return all(there.get(one.cube_id) == one.version for one in self.origins)


def ids_by_tenant(keys: Iterable[CubeKey]) -> dict[str, set[str]]:
    """Groups memories, once for all names that are compared with them."""
    found: dict[str, set[str]] = {}
    for key in keys:
        found.setdefault(key.tenant, set()).add(key.id)
    return found


@dataclass(frozen=True, slots=True)
class KvObject:
    """A cache in the object store."""

    manifest: KvManifest
    reference: object


class KvLibrary:
    """Holds caches by name; each is one object, or a conversation's, one behind the other.

    Invariants: what is held is within the budget, pinned caches excepted; whatever is let go of is
    only a reference here, so that requests that use it go on.

    Concurrency: methods run on the actor's event loop.
    """

    def __init__(self, budget: Budget, policy: RetentionPolicy, clock: ClockPort) -> None:
        self._clock = clock
        self._objects: dict[KvName, tuple[KvObject, ...]] = {}
        self._keeper: Keeper[KvName] = Keeper(budget, policy, lambda name: name.kin)
        self._token_s = _TOKEN_S
        self._token_bytes: dict[str, float] = {}
        self._token_share: dict[str, float] = {}

    @property
    def memory_bytes(self) -> int:
        """Bytes that are held in the object store."""
        return self._keeper.size_bytes

    @property
    def names(self) -> list[KvName]:
        """What is held."""
        return list(self._objects)

    def admits(self, name: KvName, tokens: int, *, pinned: bool = False) -> bool:
        """Tells whether a cache would be held, before it is built.

        Args:
            tokens: how many it would hold, about.
        """
        each = self._token_bytes.get(name.model)
        if each is None:
            # The first one of a model shows how large they are.
            return True
        size = round(tokens * each)
        offered = Holding(
            name.place.tenant, size, self.estimate_s(tokens), pinned, label=name.label
        )
        return self._keeper.admits(name, offered, self._clock.monotonic())

    def hold(
        self, name: KvName, objects: tuple[KvObject, ...], build_s: float, *, pinned: bool = False
    ) -> list[KvName]:
        """Takes a cache in, or more of it; returns the names of those that had to go for it."""
        size = sum(one.manifest.size_bytes for one in objects)
        tokens = sum(one.manifest.held_tokens for one in objects)
        if tokens:
            self._token_bytes[name.model] = size / tokens
        holding = Holding(name.place.tenant, size, build_s, pinned, label=name.label)
        self._objects[name] = objects
        now = self._clock.monotonic()
        going = self._keeper.hold(name, holding, now)
        for one in going:
            self._objects.pop(one, None)
            _log.info("a KV cache is let go of: kind %s, for one of kind %s", one.label, name.label)
        return going

    def use(self, name: KvName, *, pinned: bool = False) -> tuple[KvObject, ...] | None:
        """Counts that a cache is wanted, and returns it; `pinned` is what its memory says now."""
        holding = self._keeper.use(name, name.label, self._clock.monotonic())
        if holding is None:
            return None
        holding.pinned = pinned
        if name.session:
            # Its last question was its own.
            holding.asked(1.0)
        return self._objects[name]

    def asked(self, place: Place, found: Collection[str]) -> None:
        """Notes which memories were found for a question; they show what is similar to it."""
        for name, holding in self._keeper.held.items():
            if name.place == place and name.sources and found:
                inside = {source.cube_id for source in name.sources}
                holding.asked(len(inside.intersection(found)) / len(found))

    def look(self, name: KvName) -> Holding | None:
        """Returns what is known of a cache, without using it."""
        return self._keeper.held.get(name)

    def objects(self, name: KvName) -> tuple[KvObject, ...]:
        """Returns a cache without using it; nothing when it is not held."""
        return self._objects.get(name, ())

    def expected_tokens(self, model: str, text: str) -> int:
        """Estimates from below, by what was learnt: what would fit is not to be refused."""
        return round(estimated_tokens(text) * self._token_share.get(model, _TOKEN_SHARE))

    def note_tokens(self, model: str, text: str, tokens: int) -> None:
        """Learns how many tokens of a model texts are: at once from few, slowly from many."""
        share = tokens / estimated_tokens(text)
        before = self._token_share.get(model, share)
        self._token_share[model] = min(share, before + _LEARNING * (share - before))

    def note_build(self, tokens: int, took_s: float) -> None:
        """Learns how long computing tokens takes."""
        self._token_s += _LEARNING * (took_s / max(tokens, 1) - self._token_s)

    def estimate_s(self, tokens: int) -> float:
        """Returns how long computing tokens will take, by what was learnt."""
        return tokens * self._token_s

    def worth(self, name: KvName) -> float:
        """Returns by what the policy orders a held cache."""
        return self._keeper.worth(name, self._clock.monotonic())

    def why(self, name: KvName) -> str | None:
        """Says what decides over keeping a cache, held or not; nothing of an unknown one."""
        return self._keeper.why(name, name.label, self._clock.monotonic())

    def let_go(self, name: KvName) -> None:
        """Drops a cache; an absent one is fine."""
        self._objects.pop(name, None)
        self._keeper.let_go(name)

    def outdated(self, name: KvName) -> None:
        """Drops a cache whose memories have changed, and learns how often they do."""
        self._objects.pop(name, None)
        self._keeper.outdated(name, self._clock.monotonic())
