"""What a request says to the connector, and what it hears back: plain values in `extra_args`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

from memos_ray.core.activation import KvSegment

PARAMS = "kv_transfer_params"
_OFFERS, _KEEP, _OUTCOME = "memos_offers", "memos_keep", "memos_outcome"


@dataclass(frozen=True, slots=True)
class KvOrder:
    """Blocks of tokens [start, tokens), to be laid on the desk once they are computed."""

    name: str
    start: int
    tokens: int


@dataclass(frozen=True, slots=True)
class KvOutcome:
    """What became of the offers.

    Attributes:
        loaded: tokens that the payloads replaced.
        refused: why the first that was of no use was not loaded.
        place: token at which that one begins.
        failed: token from which on the engine computed after all, because a load failed.
    """

    loaded: int = 0
    refused: str | None = None
    place: int = 0
    failed: int | None = None


def params_of(offers: Sequence[KvSegment], order: KvOrder | None) -> dict[str, Any] | None:
    """Returns what to put into `SamplingParams.extra_args`, or nothing.

    Args:
        offers: named as they lie on the desk.
    """
    params: dict[str, Any] = {}
    if offers:
        params[_OFFERS] = [list(astuple(offer)) for offer in offers]
    if order is not None:
        params[_KEEP] = list(astuple(order))
    return {PARAMS: params} if params else None


def offers_of(params: dict[str, Any] | None) -> list[KvSegment]:
    """Reads the offers."""
    return [KvSegment(*values) for values in (params or {}).get(_OFFERS, ())]


def order_of(params: dict[str, Any] | None) -> KvOrder | None:
    """Reads an order."""
    return KvOrder(*params[_KEEP]) if params and _KEEP in params else None


def report(outcome: KvOutcome) -> dict[str, Any]:
    """Returns what the engine hands back with the last output."""
    return {_OUTCOME: list(astuple(outcome))}


def outcome_of(params: dict[str, Any] | None) -> KvOutcome:
    """Reads what the engine handed back."""
    return KvOutcome(*(params or {}).get(_OUTCOME, ()))
