"""All that a partition holds, for tests."""

from __future__ import annotations

from memos_ray.core.cube.cube import MemCube
from memos_ray.core.vault.log import CubeKey
from memos_ray.ports import RecordStorePort


def every_head(store: RecordStorePort, partition: int) -> list[MemCube]:
    """Returns the heads of all memories that the log speaks of, by tenant and id."""
    events = store.events(partition, 0, 10**9)
    keys = {CubeKey(event.tenant, event.cube_id) for event in events if event.cube_id}
    found = store.heads(partition, tuple(keys)).values()
    return sorted(found, key=lambda cube: (cube.tenant, cube.id))
