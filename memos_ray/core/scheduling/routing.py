"""Which replica a request goes to: one that holds its KV caches, unless others are far less busy.

A request names what replicas may hold of it: KV caches, and the conversation that it goes on with.
Prompt tokens that a replica need not compute are worth some requests that it has more than others.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

_Value = TypeVar("_Value")

RECENT_NAMES = 1024
"""Names that a replica and a router keep in mind."""


@dataclass(frozen=True, slots=True)
class RoutingPolicy:
    """How much a KV cache is worth, in requests.

    Attributes:
        holder_requests: the most requests that a holder may have more than a stranger and still be
            preferred; 0 turns the preference off.
        request_tokens: so many tokens of a prompt, not computed, are worth one request.
        margin_requests: so much busier than another holder may the one be that had the last such
            request, lest conversations move to and fro.
        expected_s: for so long is a replica believed to hold what was sent to it, before it says
            so itself.
    """

    holder_requests: int = 8
    request_tokens: int = 64
    margin_requests: int = 1
    expected_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A replica, seen by a router that has one request for it.

    Attributes:
        ongoing: requests that it has; nothing when that is not known.
        capacity: requests that it takes at once.
        held_tokens: tokens of the prompt that it need not compute.
        recent: whether it had the last request of this kind.
    """

    id: str
    ongoing: int | None
    capacity: int
    held_tokens: int = 0
    recent: bool = False


def preferred(candidates: Sequence[Candidate], policy: RoutingPolicy) -> list[str]:
    """Returns the replicas, best first; none when no replica holds anything.

    Holders come first among equals, then the one that had the last such request, then the earlier
    in `candidates`. Full ones come last, the least busy first, whatever they hold.
    """
    if not policy.holder_requests or not any(one.held_tokens for one in candidates):
        return []
    return [one.id for one in sorted(candidates, key=lambda one: _rank(one, policy))]


def _rank(one: Candidate, policy: RoutingPolicy) -> tuple[bool, float, bool, bool]:
    ongoing = one.ongoing or 0
    full = ongoing >= one.capacity
    worth = 0.0
    if one.held_tokens and not full:
        worth = min(one.held_tokens / policy.request_tokens, policy.holder_requests)
        worth += policy.margin_requests if one.recent else 0
    return full, ongoing - worth, not one.held_tokens, not one.recent


class Recent(Generic[_Value]):
    """A value for each of the names that were put last.

    Eviction: the name that was put longest ago, beyond `limit` names.
    """

    def __init__(self, limit: int = RECENT_NAMES) -> None:
        self._limit = limit
        self._values: OrderedDict[str, _Value] = OrderedDict()

    def put(self, name: str, value: _Value) -> None:
        """Notes a value, in the place of an older one."""
        self._values[name] = value
        self._values.move_to_end(name)
        if len(self._values) > self._limit:
            self._values.popitem(last=False)

    def get(self, name: str) -> _Value | None:
        """Returns the value that was put last, or nothing."""
        return self._values.get(name)

    def all(self) -> dict[str, _Value]:
        """Returns everything, the oldest first."""
        return dict(self._values)

    def clear(self) -> None:
        """Forgets everything."""
        self._values.clear()


class Placements:
    """What a router knows of which replica holds what.

    Replicas report what they hold now and then. Between two reports, what this router has sent
    counts, so that many requests that come at once and share a memory meet at one replica.
    """

    def __init__(self, policy: RoutingPolicy) -> None:
        self._policy = policy
        self._last: Recent[str] = Recent()
        self._sent: Recent[float] = Recent()

    def sent(self, names: Sequence[str], replica: str, now: float) -> None:
        """Notes that a request with these names has gone to a replica.

        Args:
            now: in seconds, of any clock that only goes on.
        """
        for name in names:
            self._last.put(name, replica)
            self._sent.put(_pair(name, replica), now)

    def view(
        self,
        replica: str,
        names: Sequence[str],
        reported: Mapping[str, int],
        *,
        ongoing: int | None,
        capacity: int,
        now: float,
    ) -> Candidate:
        """Returns a replica as a candidate for a request with these names.

        Args:
            names: what may be held of the request, the most specific last.
            reported: tokens of what the replica says that it holds, by name.
        """
        # One cache is the beginning of the other: the longest counts.
        held = max((self._held(replica, name, reported, now) for name in names), default=0)
        recent = next((last for name in reversed(names) if (last := self._last.get(name))), None)
        return Candidate(replica, ongoing, capacity, held, recent == replica)

    def _held(self, replica: str, name: str, reported: Mapping[str, int], now: float) -> int:
        tokens = reported.get(name, 0)
        at = self._sent.get(_pair(name, replica))
        if tokens or at is None or now - at > self._policy.expected_s:
            return tokens
        # How much it is, only the replica knows.
        return self._policy.holder_requests * self._policy.request_tokens


def _pair(name: str, replica: str) -> str:
    return f"{name}@{replica}"
