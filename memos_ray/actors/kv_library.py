"""The KV caches that a shard holds in the object store, within its budgets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from memos_ray.actors.residency import Place
from memos_ray.core.activation import (
    Holding,
    KvBudget,
    KvManifest,
    RetentionPolicy,
    SourceVersion,
    victims,
)
from memos_ray.core.cube.cube import MemCube, State
from memos_ray.core.vault.log import CubeKey
from memos_ray.ports import ClockPort

_TOKEN_S = 1e-3
_LEARNING = 0.3


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
        there = {head.id: head.version.number for head in heads if head.state is not State.DELETED}
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

    def __init__(self, budget: KvBudget, policy: RetentionPolicy, clock: ClockPort) -> None:
        self._budget = budget
        self._policy = policy
        self._clock = clock
        self._objects: dict[KvName, tuple[KvObject, ...]] = {}
        self._holdings: dict[KvName, Holding] = {}
        self._bytes = 0
        self._token_s = _TOKEN_S

    @property
    def memory_bytes(self) -> int:
        """Bytes that are held in the object store."""
        return self._bytes

    @property
    def names(self) -> list[KvName]:
        """What is held."""
        return list(self._objects)

    def hold(
        self, name: KvName, objects: tuple[KvObject, ...], build_s: float, *, pinned: bool = False
    ) -> list[KvName]:
        """Takes a cache in, or more of it; returns the names of those that had to go for it."""
        now = self._clock.monotonic()
        before = self._holdings.get(name)
        size = sum(one.manifest.size_bytes for one in objects)
        holding = Holding(name.place.tenant, size, build_s, pinned)
        if before is not None:
            self._bytes -= before.size_bytes
            holding.uses, holding.used_at = before.uses, before.used_at
        holding.use(now)
        self._objects[name], self._holdings[name] = objects, holding
        self._bytes += size
        going = victims(self._holdings, self._budget, self._policy, now, newcomer=name)
        for one in going:
            self.let_go(one)
        return going

    def use(self, name: KvName, *, pinned: bool = False) -> tuple[KvObject, ...] | None:
        """Returns a cache and counts the use; `pinned` is what its memory says now."""
        holding = self._holdings.get(name)
        if holding is None:
            return None
        holding.pinned = pinned
        holding.use(self._clock.monotonic())
        return self._objects[name]

    def look(self, name: KvName) -> Holding | None:
        """Returns what is known of a cache, without using it."""
        return self._holdings.get(name)

    def objects(self, name: KvName) -> tuple[KvObject, ...]:
        """Returns a cache without using it; nothing when it is not held."""
        return self._objects.get(name, ())

    def note_build(self, tokens: int, took_s: float) -> None:
        """Learns how long computing tokens takes."""
        self._token_s += _LEARNING * (took_s / max(tokens, 1) - self._token_s)

    def estimate_s(self, tokens: int) -> float:
        """Returns how long computing tokens will take, by what was learnt."""
        return tokens * self._token_s

    def worth(self, name: KvName) -> float:
        """Returns by what the policy orders a held cache."""
        return self._policy.worth(self._holdings[name], self._clock.monotonic())

    def let_go(self, name: KvName) -> None:
        """Drops a cache; an absent one is fine."""
        holding = self._holdings.pop(name, None)
        if holding is not None:
            del self._objects[name]
            self._bytes -= holding.size_bytes
