"""MemoryPathResolver: what to search, where and in what order (OPER-3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from memos_ray.core.organising.layers import Layer, Placed
from memos_ray.core.organising.topic_reports import TopicMatch
from memos_ray.core.reader.query import MemoryCall, Reach

MOST_STEPS = 8
"""More namespaces are left out of one search."""
MOST_ASKED = 64
"""Of so many namespaces, the nearest layers first, is asked what they are about."""

_LAYERS = {
    Reach.MINE: frozenset((Layer.ROLE, Layer.PRIVATE)),
    Reach.SHARED: frozenset((Layer.SHARED, Layer.GLOBAL)),
    Reach.ALL: frozenset(Layer),
}
# Of two namespaces that are about as much to the point, the nearer one comes first.
_NEARNESS = {Layer.ROLE: 0.10, Layer.PRIVATE: 0.06, Layer.SHARED: 0.03, Layer.GLOBAL: 0.0}
_TO_THE_POINT = 0.6


@dataclass(frozen=True, slots=True)
class PathStep:
    """One namespace to search.

    Attributes:
        matches: its topics that the query is about, the surest first; none when it has no topics,
            or the query no embedding.
        reasons: why it is searched, and why here in the order.
    """

    namespace: str
    layer: Layer
    matches: tuple[TopicMatch, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Path:
    """Where a search goes, in order.

    Attributes:
        left_out: namespaces that it does not go to, each with the reason.
        reasons: what the request asks for, by the words that say so.
    """

    steps: tuple[PathStep, ...]
    left_out: tuple[tuple[str, str], ...]
    reasons: tuple[str, ...]


class MemoryPathResolver:
    """Plans where a request goes; it looks at no memory, and opens nothing."""

    def __init__(self, most: int = MOST_STEPS) -> None:
        self._most = most

    def candidates(self, call: MemoryCall | None, placed: Sequence[Placed]) -> list[Placed]:
        """The namespaces that a request may mean, to be asked what they are about."""
        reach = Reach.ALL if call is None else call.scope.reach
        return [one for one in placed if one.layer in _LAYERS[reach]][:MOST_ASKED]

    def resolve(
        self,
        call: MemoryCall | None,
        placed: Sequence[Placed],
        matches: Mapping[str, Sequence[TopicMatch]],
    ) -> Path:
        """Orders namespaces by what they are about and how near they are.

        Args:
            placed: what the caller may read.
            matches: topics of the candidates that the query is about, the surest first.
        """
        candidates = self.candidates(call, placed)
        ranked = sorted(candidates, key=lambda one: (-_worth(one, matches), placed.index(one)))
        steps = tuple(
            PathStep(
                one.namespace,
                one.layer,
                _telling(matches.get(one.namespace, ())),
                (one.why, *_about(matches.get(one.namespace, ()))),
            )
            for one in ranked[: self._most]
        )
        reach = "" if call is None else call.scope.reach.value
        left_out = [(one.namespace, "others are more to the point") for one in ranked[self._most :]]
        left_out += [
            (one.namespace, f"it is not what {reach!r} means, or too far down the list")
            for one in placed
            if one not in candidates
        ]
        return Path(steps, tuple(left_out), _asked(call))


def _worth(one: Placed, matches: Mapping[str, Sequence[TopicMatch]]) -> float:
    found = matches.get(one.namespace, ())
    return _NEARNESS[one.layer] + (found[0].alike if found else 0.0)


def _telling(matches: Sequence[TopicMatch]) -> tuple[TopicMatch, ...]:
    """The matches that stand out: those at least so alike as a share of the best."""
    best = matches[0].alike if matches else 0.0
    return tuple(one for one in matches if one.alike > 0 and one.alike >= _TO_THE_POINT * best)


def _about(matches: Sequence[TopicMatch]) -> tuple[str, ...]:
    if not matches:
        return ("nothing is known of what it is about",)
    best = matches[0]
    return (f"its topic {best.topic.id} is {best.alike:.2f} alike",)


def _asked(call: MemoryCall | None) -> tuple[str, ...]:
    if call is None:
        return ()
    asked = [f"scope: {call.scope.reach.value}"]
    if call.topics:
        asked.append(f"about: {', '.join(call.topics)}")
    if call.entities:
        asked.append(f"names: {', '.join(one.text for one in call.entities)}")
    if call.semantic_types:
        asked.append(f"kinds: {', '.join(sorted(call.semantic_types))}")
    if call.time_range is not None:
        asked.append("time: what was said or happened then is preferred")
    return tuple(asked)
