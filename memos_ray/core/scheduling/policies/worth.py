"""Policies: by what those that are held are ordered when some have to go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from memos_ray.core.scheduling.policies.items import Holding

_MEGABYTE = 1e6
_HOUR_S = 3600.0


class RetentionPolicy(Protocol):
    """Orders what is held: that of least worth goes first."""

    @property
    def hysteresis(self) -> float | None:
        """How many times the worth of what it pushes out a newcomer must have.

        Nothing when newcomers always come in.
        """
        ...

    def worth(self, holding: Holding, rate: float, now: float) -> float:
        """Returns a number that grows with the wish to keep something, for each of its bytes.

        Args:
            rate: uses a second that are to be expected.
        """
        ...


@dataclass(frozen=True, slots=True)
class LeastRecentlyUsed:
    """Keeps what was used last."""

    hysteresis: float | None = None

    def worth(self, holding: Holding, rate: float, now: float) -> float:
        """See `RetentionPolicy`."""
        return holding.uses.at - now


@dataclass(frozen=True, slots=True)
class ByLabel:
    """Keeps the labels that come first; of one label, what was used last.

    Attributes:
        labels: in falling preference; those that are not named come last.
    """

    labels: Sequence[str]
    hysteresis: float | None = None

    def worth(self, holding: Holding, rate: float, now: float) -> float:
        """See `RetentionPolicy`."""
        rank = self.labels.index(holding.label) if holding.label in self.labels else None
        return (0 if rank is None else len(self.labels) - rank) + _freshness(holding, now)


@dataclass(frozen=True, slots=True)
class BySimilarity:
    """Keeps what is most similar to the last questions; of those alike, what was used last."""

    hysteresis: float | None = None

    def worth(self, holding: Holding, rate: float, now: float) -> float:
        """See `RetentionPolicy`."""
        return holding.similarity + 1e-6 * _freshness(holding, now)


@dataclass(frozen=True, slots=True)
class CostBased:
    """Keeps what saves most: seconds an hour for each megabyte.

    What is likely to change before it is used again saves nothing: with uses and changes that come
    at rates u and c, the next one is a use with probability u / (u + c).

    A newcomer must be worth a little more than what it would push out, so that two of equal worth
    are not made and dropped in turn.
    """

    hysteresis: float | None = 1.1

    def worth(self, holding: Holding, rate: float, now: float) -> float:
        """See `RetentionPolicy`."""
        changes = holding.changes.rate(now)
        lasting = rate / (rate + changes) if changes else 1.0
        an_hour = rate * _HOUR_S * holding.saved_s * lasting
        return an_hour / max(holding.size_bytes / _MEGABYTE, 1e-6)


def _freshness(holding: Holding, now: float) -> float:
    """Returns a number below 1 that falls with the time since the last use."""
    return 0.5 / (1.0 + max(now - holding.uses.at, 0.0))
