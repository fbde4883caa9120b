"""Packs batches for the way between our own processes.

Ray pickles arguments with cloudpickle, which looks every object up in Python code; for batches of
small values that costs more than the call. The plain pickler does not, and cloudpickle passes the
resulting bytes on as they are. Both ends are actors of one cluster; nothing packed is ever accepted
from outside or kept.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any, NewType

Packed = NewType("Packed", bytes)


def pack(items: Sequence[object]) -> Packed:
    """Packs a batch."""
    return Packed(pickle.dumps(list(items), pickle.HIGHEST_PROTOCOL))


def unpack(packed: Packed) -> list[Any]:
    """Unpacks a batch that one of our own actors has packed."""
    items: list[Any] = pickle.loads(packed)
    return items
