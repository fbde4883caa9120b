"""Which adapters a model takes: everything is checked before an engine sees any of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from memos_ray.core.parameter.manifest import module_of
from memos_ray.core.parameter.payload import AdapterPayload, read_tensors
from memos_ray.errors import InvalidInputError

_BF16_EXPONENT = 0x7F80


class AdapterRefusal(StrEnum):
    """Why an adapter is refused: `reason` in the details of the error."""

    BASE = "base"
    RANK = "rank"
    SIZE = "size"
    DIGEST = "digest"
    FORMAT = "format"
    SHAPE = "shape"
    NUMBERS = "numbers"
    PINS = "pins"


@dataclass(frozen=True, slots=True)
class AdapterLimits:
    """What an engine takes.

    Attributes:
        base: digest of the weights of its model.
        shapes: `[out, in]` of each of the model's layers that an adapter may change, by name.
        rank_max: largest rank.
        bytes_max: largest file.
    """

    base: str
    shapes: Mapping[str, tuple[int, ...]]
    rank_max: int
    bytes_max: int


def check(payload: AdapterPayload, limits: AdapterLimits) -> None:
    """Checks an adapter, the cheap things first.

    Raises:
        InvalidInputError: it was made for another model, is too large or damaged, or does not
            fit; `reason` is an `AdapterRefusal`.
    """
    manifest = payload.manifest
    if manifest.base != limits.base:
        raise _refused(payload, AdapterRefusal.BASE, "the adapter was made for another model")
    if not 0 < manifest.rank <= limits.rank_max:
        raise _refused(
            payload, AdapterRefusal.RANK, "the adapter's rank is too large", limit=limits.rank_max
        )
    if payload.data.size > limits.bytes_max:
        raise _refused(
            payload, AdapterRefusal.SIZE, "the adapter is too large", limit=limits.bytes_max
        )
    if not payload.intact():
        raise _refused(payload, AdapterRefusal.DIGEST, "the adapter is damaged")
    # The digest speaks of the bytes; what else the manifest says must follow from them.
    sealed = AdapterPayload.seal(
        payload.data,
        base=manifest.base,
        rank=manifest.rank,
        alpha=manifest.alpha,
        origin=manifest.origin,
    )
    if sealed.manifest != manifest or not np.isfinite(manifest.alpha):
        raise _refused(payload, AdapterRefusal.FORMAT, "the manifest is of another adapter")
    _check_shapes(payload, limits.shapes)
    for spec, tensor in read_tensors(payload.data):
        if spec.dtype == "BF16":
            # All ones in the exponent: an infinity, or no number.
            finite = (tensor & _BF16_EXPONENT) != _BF16_EXPONENT
        else:
            finite = np.isfinite(tensor)
        if not finite.all():
            raise _refused(payload, AdapterRefusal.NUMBERS, "the adapter's numbers are not finite")


def _check_shapes(payload: AdapterPayload, shapes: Mapping[str, tuple[int, ...]]) -> None:
    rank = payload.manifest.rank
    halves: dict[str, set[str]] = {}
    for spec in payload.manifest.tensors:
        module, half = module_of(spec.name) or ("", "")
        shape = shapes.get(module, ())
        if len(shape) != 2:
            raise _refused(
                payload, AdapterRefusal.SHAPE, "the model has no such layer", tensor=spec.name
            )
        wanted = (rank, shape[1]) if half == "A" else (shape[0], rank)
        if spec.shape != wanted:
            raise _refused(
                payload, AdapterRefusal.SHAPE, "a tensor does not fit its layer", tensor=spec.name
            )
        halves.setdefault(module, set()).add(half)
    if not halves or any(len(found) < 2 for found in halves.values()):
        raise _refused(payload, AdapterRefusal.SHAPE, "a half of a layer is missing")


def _refused(
    payload: AdapterPayload, reason: AdapterRefusal, message: str, **details: int | str
) -> InvalidInputError:
    return InvalidInputError(
        message, adapter=payload.manifest.digest, reason=reason.value, **details
    )
