"""Signals: what each can say about a memory and a query.

Evidence is measured for every permitted memory, z-scored and weighed. A prior is added as it is to
the memories that it applies to. A new signal is a class with the methods of `Signal`, a weight in
`SignalWeights` and a place in `EVIDENCE` or `PRIORS`. The one signal that starts from what these
say together is in `graph`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from memos_ray.core.retrieval import lexical, proper
from memos_ray.core.retrieval.columns import ABSENT
from memos_ray.core.retrieval.scope import Scope

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
_NEVER = np.iinfo(np.int64).min
_FOREVER = int(np.iinfo(np.int64).max)
_DAY = 86_400 * 1_000_000
_YEAR = 365 * _DAY


def _no_notes(slots: Sequence[int]) -> list[str]:
    return [""] * len(slots)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a signal found.

    Attributes:
        values: in the signal's own unit, `[n]`.
        known: where it has an opinion, `[n]`; absent: everywhere.
        notes: explains some slots, one line each.
    """

    values: FloatArray
    known: Mask | None = None
    notes: Callable[[Sequence[int]], list[str]] = _no_notes


class Signal(Protocol):
    """One aspect of relevance. Stateless: one instance serves all searches.

    Attributes:
        name: stable; also the name of its weight.
    """

    name: str

    def measure(self, scope: Scope, slots: IntArray) -> Measured | None:
        """Measures `slots`; nothing when the signal has nothing to say about this query.

        Evidence is always asked about `scope.rows`, a prior about any permitted slots.
        """
        ...


class OwnBm25:
    """BM25 over a memory's own words."""

    name = "bm25_own"

    def measure(self, scope: Scope, slots: IntArray) -> Measured | None:
        """Silent without a word of content in the query."""
        if not scope.terms:
            return None
        scored = lexical.bm25(scope, scope.occurrences, scope.store.lengths)
        return Measured(scored.values, None, scored.notes)


class ContextBm25:
    """BM25 over a memory with its nearest neighbours."""

    name = "bm25_context"

    def measure(self, scope: Scope, slots: IntArray) -> Measured | None:
        """Silent without a word of content in the query."""
        if not scope.terms:
            return None
        scored = lexical.bm25(scope, lexical.spread(scope), scope.store.context_lengths)
        return Measured(scored.values, None, scored.notes)


class OwnDense:
    """Cosine of the query with the best chunk of a memory."""

    name = "dense_own"

    def measure(self, scope: Scope, slots: IntArray) -> Measured | None:
        """Silent without a query vector; without opinion where nothing is embedded yet."""
        if scope.own_cosines is None:
            return None
        values, known = scope.own_cosines

        def notes(slots: Sequence[int]) -> list[str]:
            extra = [scope.store.extra.count_of(slot) for slot in slots]
            return [f"best of {count + 1} chunks" if count else "" for count in extra]

        return Measured(values, known, notes)


class ContextDense:
    """Cosine of the query with a memory together with its predecessor.

    Where that view does not exist, the memory's own cosine stands in for it.
    """

    name = "dense_context"

    def measure(self, scope: Scope, slots: IntArray) -> Measured | None:
        """Silent without a query vector; without opinion where nothing is embedded yet."""
        if scope.own_cosines is None:
            return None
        values, known = scope.own_cosines
        cosines = scope.context_cosines
        if cosines is None:
            return Measured(values, known)
        held = scope.at(scope.store.context.held, slots)
        np.copyto(cosines, values, where=~held)
        return Measured(cosines, known | held)


class SpeakerPrior:
    """1 for what the one participant whom the query names has said.

    Silent when the query names several: then what each says of the other counts too.
    """

    name = "speaker"

    def measure(self, scope: Scope, slots: IntArray) -> Measured | None:
        """Silent when not exactly one participant is named."""
        named = scope.naming.speakers
        column = scope.store.frame.coded("speaker")
        if len(named) != 1 or column is None:
            return None
        said = scope.at(column.codes, slots) == column.code(named[0])
        return Measured(said.astype(np.float64), None, lambda slots: [named[0]] * len(slots))


class RolePrior:
    """1 for what a role that the query asks about has said, and for what no role has said.

    It holds an assistant's turns back; a note without a role is no less than what a user said.
    """

    name = "role"

    def measure(self, scope: Scope, slots: IntArray) -> Measured | None:
        """Silent when any role will do, or nothing visible has one."""
        column = scope.store.frame.coded("role")
        roles = scope.roles
        if not roles or column is None:
            return None
        if not (scope.basis & (column.codes[: scope.high] != ABSENT)).any():
            return None
        codes = scope.at(column.codes, slots)
        said = codes == ABSENT
        for role in roles:
            said |= codes == column.code(role)
        note = ", ".join(roles)
        return Measured(said.astype(np.float64), None, lambda slots: [note] * len(slots))


class TagPrior:
    """1 for what bears a tag that the query names."""

    name = "tag"

    def measure(self, scope: Scope, slots: IntArray) -> Measured | None:
        """Silent when no tag is named."""
        if scope.borne is None:
            return None
        note = ", ".join(scope.tags)
        values = scope.at(scope.borne, slots).astype(np.float64)
        return Measured(values, None, lambda slots: [note] * len(slots))


class DatePrior:
    """1 for what was said, speaks of something, or held for a while, in the time of the query."""

    name = "date"

    def measure(self, scope: Scope, slots: IntArray) -> Measured | None:
        """Silent without a time range in the hints."""
        if scope.time_range is None:
            return None
        start, end = scope.time_range
        times = scope.store.frame.times(slots, ("event_time", "created_at"), int(_NEVER))
        yearly = scope.query.hints.yearly and end - start < _YEAR
        inside = (times >= start) & (times < end)
        if yearly:
            inside = _in_season(times, start, end) & (times != _NEVER)
        frame = scope.store.frame
        ends = frame.times(slots, ("valid_to",), int(_NEVER))
        ended = np.flatnonzero(ends != _NEVER)
        if len(ended):
            begins = frame.times(slots[ended], ("valid_from", "event_time", "created_at"), _FOREVER)
            inside[ended] |= (begins < end) & (ends[ended] > start)
        mentions = scope.store.mentions
        if mentions:
            place = {slot: at for at, slot in enumerate(slots.tolist())}
            for slot in mentions.keys() & place.keys():
                spans = np.array(mentions[slot], np.int64)
                if yearly:
                    edges = np.concatenate((spans[:, 0], spans[:, 1] - 1))
                    inside[place[slot]] |= bool(_in_season(edges, start, end).any())
                elif any(low < end and high > start for low, high in mentions[slot]):
                    inside[place[slot]] = True
        return Measured(inside.astype(np.float64), None, lambda slots: ["in time"] * len(slots))


def _in_season(times: IntArray, start: int, end: int) -> Mask:
    """Whether moments fall within a span by month and day, whatever their year."""
    # The span ends with a whole day, so that June lasts until July, and February until March.
    first, until = _of_year(np.array([start // _DAY, -(-end // _DAY)])).tolist()
    days = _of_year(times // _DAY)
    inside: Mask
    if first < until:
        inside = (days >= first) & (days < until)
    else:
        inside = (days >= first) | (days < until)
    return inside


def _of_year(days: IntArray) -> IntArray:
    """Month and day of days since 1970 as one number, so that a leap year shifts nothing."""
    dates = days.astype("datetime64[D]")
    months = dates.astype("datetime64[M]")
    place: IntArray = (months.astype(np.int64) % 12) * 32 + (dates - months).astype(np.int64)
    return place


class WhenPrior:
    """How much a memory speaks of time, when the query asks for a time."""

    name = "when"

    def measure(self, scope: Scope, slots: IntArray) -> Measured | None:
        """Silent unless the answer is a time."""
        if not scope.asks_time:
            return None
        values = scope.at(scope.store.tells_time, slots).astype(np.float64)
        return Measured(values, None, lambda slots: ["tells a time"] * len(slots))


class NamePrior:
    """1 for what tells a name, when the query asks for one ("where", "which book")."""

    name = "name"

    def measure(self, scope: Scope, slots: IntArray) -> Measured | None:
        """Silent unless the answer is a name."""
        if not proper.asks_name(scope.query.text):
            return None
        telling = scope.store.told.telling(scope.high, scope.participants)
        values = scope.at(telling, slots).astype(np.float64)
        return Measured(values, None, lambda slots: ["tells a name"] * len(slots))


class QuestionPrior:
    """How much a memory asks: it repeats the words of the query and rarely holds the answer."""

    name = "question"

    def measure(self, scope: Scope, slots: IntArray) -> Measured | None:
        """Speaks about every query."""
        values = scope.at(scope.store.asks, slots).astype(np.float64)
        return Measured(values, None, lambda slots: ["asks"] * len(slots))


EVIDENCE: tuple[Signal, ...] = (ContextBm25(), OwnBm25(), OwnDense(), ContextDense())
PRIORS: tuple[Signal, ...] = (
    SpeakerPrior(),
    RolePrior(),
    TagPrior(),
    DatePrior(),
    WhenPrior(),
    NamePrior(),
    QuestionPrior(),
)
