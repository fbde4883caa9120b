"""Reads memories of which some may be damaged: those that are not, or what is left of each."""

from __future__ import annotations

from collections.abc import Sequence

from memos_ray.core.cube.cube import MemCube
from memos_ray.core.vault.log import CubeKey
from memos_ray.core.vault.remnants import Remnant
from memos_ray.errors import StoreCorruptError
from memos_ray.ports import RecordStorePort


def readable(
    store: RecordStorePort, partition: int, keys: Sequence[CubeKey]
) -> tuple[dict[CubeKey, MemCube], list[CubeKey]]:
    """Returns heads, and of which there is one that cannot be read."""
    if not keys:
        return {}, []
    try:
        return store.heads(partition, keys), []
    except StoreCorruptError:
        heads: dict[CubeKey, MemCube] = {}
    damaged = []
    for key in keys:
        try:
            heads |= store.heads(partition, [key])
        except StoreCorruptError:
            damaged.append(key)
    return heads, damaged


def whole_or_remnants(
    store: RecordStorePort, partition: int, keys: Sequence[CubeKey]
) -> tuple[dict[CubeKey, MemCube], dict[CubeKey, Remnant]]:
    """Returns heads; of those that cannot be read, what is known without their content (GOV-9).

    Returns:
        All of them, and again those that cannot be read.

    Raises:
        StoreCorruptError: not even that much is known of one.
    """
    heads, damaged = readable(store, partition, keys)
    left = store.remnants(partition, damaged) if damaged else {}
    return heads | {key: one.cube for key, one in left.items()}, left
