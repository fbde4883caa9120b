"""The order in which memories were said: who stands before and behind whom in a conversation."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from memos_ray.core.retrieval.store import MemoryStore

_NOWHERE = int(np.iinfo(np.int64).min)


def beside(store: MemoryStore, ids: Iterable[str], reach: int) -> dict[str, list[tuple[str, int]]]:
    """Who stands up to `reach` places from memories, across the sessions of their conversation.

    Returns:
        By id, the others with how many places away they are: before it (negative) or behind it. A
        memory without a conversation, or without a place in it, has nobody beside it.

    Complexity: linear in the memories for each conversation that is met; n log n in those of it.
    """
    frame, column = store.frame, store.frame.coded("conversation")
    if column is None:
        return {}
    codes = column.codes[: frame.high]
    wanted: dict[int, list[int]] = {}
    for id in ids:
        slot = frame.slot_of.get(id)
        if slot is not None and column.value(int(codes[slot])) is not None:
            wanted.setdefault(int(codes[slot]), []).append(slot)
    found: dict[str, list[tuple[str, int]]] = {}
    for code, slots in wanted.items():
        members = np.flatnonzero(codes == code)
        positions = frame.times(members, ("position",), _NOWHERE)
        placed = members[positions != _NOWHERE]
        order = placed[np.argsort(positions[positions != _NOWHERE], kind="stable")]
        places = np.full(frame.high, -1, np.int64)
        places[order] = np.arange(len(order))
        for slot in slots:
            at = int(places[slot])
            if at < 0:
                continue
            near = order[max(0, at - reach) : at + reach + 1].tolist()
            found[frame.ids[slot]] = [
                (frame.ids[other], away)
                for away, other in enumerate(near, max(0, at - reach) - at)
                if away
            ]
    return found
