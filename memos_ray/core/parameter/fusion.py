"""Combining adapters of one base model: which go together, and what the result says of itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import Protocol

import orjson

from memos_ray.core.parameter.manifest import AdapterManifest, AdapterOrigin
from memos_ray.errors import InvalidInputError

PARENTS_MAX = 16
"""Most adapters that are combined at once."""


class FusionMethod(StrEnum):
    """How the changes of several adapters become those of one."""

    LINEAR = "linear"
    """Their weighted sum, exactly; the rank is the sum of their ranks."""
    SVD = "svd"
    """The same sum, as near as `rank` allows."""
    TIES = "ties"
    """Of each adapter the largest changes; where signs differ the heavier side counts.

    What is left is added up. The mean, as in the method's paper, would halve what only one of two
    adapters knows, and adapters of memories know different things.
    """
    DARE = "dare"
    """Of each adapter changes drawn at random, scaled up for those left out, then summed."""


DENSITIES = {FusionMethod.TIES: 0.7, FusionMethod.DARE: 0.9}
"""Share of the changes that is kept when nobody says otherwise; measured in docs/performance.md."""


@dataclass(frozen=True, slots=True)
class FusionPlan:
    """A fusion that has been checked.

    Attributes:
        weights: of each adapter.
        rank: of the result.
        density: share of the changes that are kept: less than 1 for TIES and DARE.
        seed: of DARE.
    """

    method: FusionMethod
    weights: tuple[float, ...]
    rank: int
    density: float = 1.0
    seed: int = 0

    @property
    def recipe(self) -> str:
        """Digest of how the adapters are combined."""
        canonical = orjson.dumps(asdict(self), option=orjson.OPT_SORT_KEYS)
        return blake2b(canonical, digest_size=16).hexdigest()


class Combinable(Protocol):
    """What must be known of an adapter to combine it; see `AdapterManifest`."""

    @property
    def digest(self) -> str:
        """Names the adapter."""
        ...

    @property
    def base(self) -> str:
        """Names the weights of its model."""
        ...

    @property
    def rank(self) -> int:
        """Of its matrices."""
        ...


def plan_fusion(
    adapters: Sequence[Combinable],
    method: FusionMethod,
    *,
    weights: Sequence[float] = (),
    rank: int = 0,
    density: float | None = None,
    seed: int = 0,
    rank_max: int,
) -> FusionPlan:
    """Checks that adapters can be combined.

    Args:
        weights: 1 for each when absent.
        rank: of the result; the largest of theirs when 0. `LINEAR` has the sum of theirs.
        density: as in `DENSITIES` when absent.
        rank_max: largest rank that engines take.

    Raises:
        InvalidInputError: they cannot.
    """
    if not 2 <= len(adapters) <= PARENTS_MAX:
        raise InvalidInputError("so many adapters cannot be combined", least=2, limit=PARENTS_MAX)
    if len({one.digest for one in adapters}) < len(adapters):
        raise InvalidInputError("an adapter is combined with itself")
    if len({one.base for one in adapters}) > 1:
        raise InvalidInputError("the adapters were made for different models")
    chosen = tuple(map(float, weights)) or (1.0,) * len(adapters)
    if len(chosen) != len(adapters) or any(not abs(one) < 100 for one in chosen):
        raise InvalidInputError("each adapter has a weight, of less than 100")
    if density is not None and method not in DENSITIES:
        raise InvalidInputError("only ties and dare have a density", method=method.value)
    if density is not None and not 0.0 < density < 1.0:
        raise InvalidInputError("the density lies between 0 and 1")
    density = DENSITIES.get(method, 1.0) if density is None else density
    if method is FusionMethod.LINEAR:
        rank = sum(one.rank for one in adapters)
    rank = rank or max(one.rank for one in adapters)
    if not 0 < rank <= rank_max:
        raise InvalidInputError("the rank of the result is too large", rank=rank, limit=rank_max)
    return FusionPlan(method, chosen, rank, density, seed)


def fusion_advice(plan: FusionPlan) -> str:
    """Says why a combination may have failed at the gate, and what else there is."""
    teach = "teach the model all of their memories at once"
    if plan.method is FusionMethod.LINEAR:
        return f"sums of adapters disturb each other: give them smaller weights, or {teach}"
    most = f"all but {plan.density:.0%} of each adapter's changes"
    lost = {
        FusionMethod.SVD: f"what a rank of {plan.rank} has no room for",
        FusionMethod.TIES: f"{most}, and what disagrees",
        FusionMethod.DARE: most,
    }[plan.method]
    return f"{plan.method} leaves out {lost}: combine by linear, or {teach}"


def joined_origin(manifests: Sequence[AdapterManifest], plan: FusionPlan) -> AdapterOrigin:
    """Returns where a combined adapter comes from: all that its parents come from, and they."""
    return AdapterOrigin(
        sources=tuple(dict.fromkeys(source for one in manifests for source in one.origin.sources)),
        recipe=plan.recipe,
        seed=plan.seed,
        parents=tuple(one.digest for one in manifests),
    )
