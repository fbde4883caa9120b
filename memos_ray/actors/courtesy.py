"""When background work steps aside for writes, and when it goes on all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_HALF_LIFE_S = 0.25
_PRESSING = 16.0
_PAUSE_S = 0.02
_TIMES = 4.0
_GRACE_S = 2.0
_HOLD_MIN_S = 0.1
_HOLD_MAX_S = 2.0


class Pressure:
    """How hard writes press: how many there were lately, halved every quarter of a second.

    A lone write now and then does not press; a bulk load or a crowd of writers does, also in the
    moments in which none of their writes waits.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._recent = 0.0
        self._at = clock()

    def note(self, writes: int) -> None:
        """Counts writes that have arrived."""
        self._recent = self._decayed() + writes
        self._at = self._clock()

    def asked(self) -> None:
        """Notes that somebody waits for an answer, which presses for a moment all by itself."""
        self.note(round(_PRESSING))

    @property
    def pressing(self) -> bool:
        """Whether background work should wait."""
        return self._decayed() >= _PRESSING

    def _decayed(self) -> float:
        return self._recent * float(0.5 ** ((self._clock() - self._at) / _HALF_LIFE_S))


class Courtesy:
    """Lets writes go first, for a while.

    Background work asks for its turn between pieces that take a fraction of a second. When writes
    begin to press, it lets two seconds pass, in which a burst is over. While they go on, it waits
    four times as long as its last piece took, within bounds: under any load it keeps a share of
    about a fifth, so that its lag stays finite. It waits for nobody while somebody waits for it.

    Args:
        times: how much longer than its last piece it waits, instead of four times.
    """

    def __init__(self, pressing: Callable[[], bool], *, times: float = _TIMES) -> None:
        self._pressing = pressing
        self._times = times
        self._awaited = 0
        self._resumed_at: float | None = None
        self._pressed = False

    def __enter__(self) -> None:
        """Somebody waits for the work: no more waiting until they leave."""
        self._awaited += 1

    def __exit__(self, *_: object) -> None:
        self._awaited -= 1

    async def turn(self) -> None:
        """Returns when the next piece of work may begin."""
        now = asyncio.get_running_loop().time
        worked_s = 0.0 if self._resumed_at is None else now() - self._resumed_at
        hold_s = min(max(self._times * worked_s, _HOLD_MIN_S), _HOLD_MAX_S)
        if not self._pressed:
            hold_s = _GRACE_S
        self._pressed = False
        until = now() + hold_s
        # By the clock: on a busy event loop each pause takes longer than it should.
        while now() < until and not self._awaited and self._pressing():
            self._pressed = True
            await asyncio.sleep(_PAUSE_S)
        self._resumed_at = now()
