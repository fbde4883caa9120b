"""How the interpreter is set in our own processes, and in a program that opens a cluster."""

from __future__ import annotations

import gc
import sys

_SWITCH_S = 0.001
_OBJECTS = 20_000
_AT_FIRST = (700, 10, 10)


def tune() -> None:
    """Sets how threads take turns, and how often cycles are looked for."""
    # Worker threads compute while the event loop answers; it should not wait 5 ms for its turn.
    sys.setswitchinterval(_SWITCH_S)
    # A batch makes thousands of objects without cycles; looking through them every 700 is up to a
    # third of the work of a bulk write.
    gc.set_threshold(_OBJECTS, 20, 20)
    # What has been loaded stays: a full look through it would stop everything for a quarter of a
    # second.
    gc.freeze()


def spare() -> None:
    """Has cycles looked for less often in a program of a user, unless it has chosen how often.

    The objects of a batch live for as long as its call. As often as the interpreter begins with, it
    takes them for lasting ones and looks through all that the program holds every few batches,
    which is a sixth of what a bulk write takes.
    """
    # A start makes so many objects that the first call would have them all looked through.
    gc.collect()
    if gc.get_threshold() == _AT_FIRST:
        gc.set_threshold(_OBJECTS, *_AT_FIRST[1:])
