"""What a request says to the connector, and what it hears back: plain values in `extra_args`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

PARAMS = "kv_transfer_params"
_OFFER, _KEEP, _LOADED, _REFUSED = "memos_offer", "memos_keep", "memos_loaded", "memos_refused"


@dataclass(frozen=True, slots=True)
class KvOffer:
    """A payload on the desk that holds a prefix of the prompt.

    Attributes:
        name: on the desk.
        key: of the prefix; see `core.activation.PrefixChain`.
        tokens: length of the prefix, a multiple of the engine's block.
    """

    name: str
    key: str
    tokens: int


@dataclass(frozen=True, slots=True)
class KvOrder:
    """A prefix whose blocks are to be laid on the desk once they are computed."""

    name: str
    tokens: int


@dataclass(frozen=True, slots=True)
class KvOutcome:
    """What became of an offer.

    Attributes:
        loaded: tokens that the payload replaced.
        refused: why it was not loaded.
    """

    loaded: int = 0
    refused: str | None = None


def params_of(offer: KvOffer | None, order: KvOrder | None) -> dict[str, Any] | None:
    """Returns what to put into `SamplingParams.extra_args`, or nothing."""
    params: dict[str, Any] = {}
    if offer is not None:
        params[_OFFER] = [offer.name, offer.key, offer.tokens]
    if order is not None:
        params[_KEEP] = [order.name, order.tokens]
    return {PARAMS: params} if params else None


def offer_of(params: dict[str, Any] | None) -> KvOffer | None:
    """Reads an offer."""
    return KvOffer(*params[_OFFER]) if params and _OFFER in params else None


def order_of(params: dict[str, Any] | None) -> KvOrder | None:
    """Reads an order."""
    return KvOrder(*params[_KEEP]) if params and _KEEP in params else None


def report(outcome: KvOutcome) -> dict[str, Any]:
    """Returns what the engine hands back with the last output."""
    return {_LOADED: outcome.loaded, _REFUSED: outcome.refused}


def outcome_of(params: dict[str, Any] | None) -> KvOutcome:
    """Reads what the engine handed back."""
    params = params or {}
    return KvOutcome(params.get(_LOADED, 0), params.get(_REFUSED))
