"""Activation memory: what is converted, and what is known of KV caches."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from memos_ray.core.activation import CacheState
from memos_ray.gateway.fields import MemoryId, Model, Name, NamespaceName


class Conversion(Model):
    """Memories of one namespace that prompts to a model are to begin with.

    `namespace` is the caller's own home when absent.
    """

    ids: Annotated[list[MemoryId], Field(min_length=1, max_length=1000)]
    model: Name
    namespace: NamespaceName | None = None


class Pinning(Model):
    """Whether a cache is to stay whatever else needs room."""

    pinned: bool = True


class CacheSource(Model):
    """A memory of a cache: its version at the conversion, and now.

    `current` is absent when prompts leave it out: it is deleted, expired, superseded or no text.
    """

    id: str
    converted: int
    current: int | None = None


class AdaptedCache(Model):
    """A KV cache of an activation memory for prompts with an adapter.

    It is of the `memories` that the adapter has not learnt; it was computed with the adapter, and
    no other prompt uses it. `adapter_id` is that of the parameter memory, `adapter` the digest.
    """

    adapter_id: str
    adapter: str
    state: CacheState
    memories: int
    size_bytes: int
    build_s: float | None = None
    heat: float
    worth: float | None = None


class Cache(Model):
    """An activation memory and its KV cache.

    `state` says where the cache is, `reason` why it failed. `tokens` and `size_bytes` are those of
    the conversion when there is no cache now. `heat` counts uses, which count for half after an
    hour; the cache of the least `worth` goes first when there is not room for all. `adapted` are
    its caches for prompts with an adapter. `why` says what decides over keeping it.
    """

    id: str
    version: int
    namespace: str
    model: str
    state: CacheState
    reason: str | None = None
    tokens: int
    size_bytes: int
    pinned: bool
    build_s: float | None = None
    heat: float
    worth: float | None = None
    why: str | None = None
    sources: list[CacheSource]
    adapted: list[AdaptedCache] = []


class CacheList(Model):
    """The activation memories of a namespace."""

    caches: list[Cache]
