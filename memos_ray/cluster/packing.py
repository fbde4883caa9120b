"""Packs values for the way between our own processes.

Ray pickles arguments with cloudpickle, which looks every object up in Python code; for a batch of
writes or the hits of a search that costs more than the call. The plain pickler does not, and
cloudpickle passes the resulting bytes on as they are. Both ends are actors of one cluster; nothing
packed is ever accepted from outside or kept.
"""

from __future__ import annotations

import pickle
from typing import Any, NewType

Packed = NewType("Packed", bytes)


def pack(value: object) -> Packed:
    """Packs a value made of our own types and plain ones."""
    return Packed(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))


def unpack(packed: Packed) -> Any:
    """Unpacks what one of our own actors has packed."""
    return pickle.loads(packed)
