"""What an operator may know of a KV cache."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from memos_ray.core.crossing import crossing


class CacheState(StrEnum):
    """Where the cache of an activation memory is."""

    HOT = "hot"
    """In the object store: the next prompt uses it."""
    RESTING = "resting"
    """A file: the next prompt brings it back."""
    BUILDING = "building"
    """Being computed or brought back; prompts come as text meanwhile."""
    ABSENT = "absent"
    """The next prompt has it computed."""
    FAILED = "failed"
    """It could not be computed; tried again after a while."""
    EMPTY = "empty"
    """None of its memories is left."""


@crossing
@dataclass(frozen=True, slots=True)
class CacheSource:
    """A memory of a cache.

    Attributes:
        converted: the version that was there when the activation memory was made.
        current: the version that prompts have now; nothing when it is left out, since it is
            deleted, expired, superseded or no text.
    """

    cube_id: str
    converted: int
    current: int | None


@crossing
@dataclass(frozen=True, slots=True)
class AdaptedCache:
    """The cache of a block for prompts with an adapter: of what it has not learnt.

    Attributes:
        adapter_id: of the parameter memory.
        adapter: content digest.
        memories: how many are in it.
        build_s, heat, worth: as those of a `CacheReport`.
    """

    adapter_id: str
    adapter: str
    state: CacheState
    memories: int
    size_bytes: int
    build_s: float | None
    heat: float
    worth: float | None


@crossing
@dataclass(frozen=True, slots=True)
class CacheReport:
    """An activation memory and its cache: that of the base, and those with adapters beside it.

    Attributes:
        cube_id: the activation memory.
        version: its version, for changes that are to be compared and set.
        reason: an error's code when it failed.
        tokens: of the cache, or as of the conversion when there is none now.
        size_bytes: the same.
        build_s: seconds that computing it took, as far as that is known.
        heat: uses, which count for half after an hour.
        worth: by what caches are kept when there is not room for all; the least goes first.
        why: what that follows from, in words; nothing where nobody has asked for it yet.
    """

    cube_id: str
    version: int
    namespace: str
    model: str
    state: CacheState
    reason: str | None
    tokens: int
    size_bytes: int
    pinned: bool
    build_s: float | None
    heat: float
    worth: float | None
    sources: tuple[CacheSource, ...]
    adapted: tuple[AdaptedCache, ...] = ()
    why: str | None = None
