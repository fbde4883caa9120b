"""Reads memories that are to be erased, be they damaged or not (GOV-9)."""

from __future__ import annotations

from collections.abc import Sequence

from memos_ray.core.cube.cube import MemCube
from memos_ray.core.vault.log import CubeKey
from memos_ray.core.vault.remnants import Remnant
from memos_ray.errors import StoreCorruptError
from memos_ray.ports import RecordStorePort


def whole_or_remnants(
    store: RecordStorePort, partition: int, keys: Sequence[CubeKey]
) -> tuple[dict[CubeKey, MemCube], dict[CubeKey, Remnant]]:
    """Returns heads; of those that cannot be read, what is known of them without their content.

    Returns:
        All of them, and again those that cannot be read.

    Raises:
        StoreCorruptError: not even that much is known of one.
    """
    if not keys:
        return {}, {}
    try:
        return store.heads(partition, keys), {}
    except StoreCorruptError:
        heads: dict[CubeKey, MemCube] = {}
    damaged = []
    for key in keys:
        try:
            heads |= store.heads(partition, [key])
        except StoreCorruptError:
            damaged.append(key)
    left = store.remnants(partition, damaged)
    return heads | {key: one.cube for key, one in left.items()}, left
