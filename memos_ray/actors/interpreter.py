"""How the interpreter is set in a process that runs actors."""

from __future__ import annotations

import gc
import sys

_SWITCH_S = 0.001
_OBJECTS = 20_000


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
