"""LoRA adapters as safetensors files: PEFT's tensors, the manifest as metadata."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson

from memos_ray.core.activation import SourceVersion
from memos_ray.core.parameter.manifest import AdapterManifest, AdapterOrigin
from memos_ray.core.parameter.payload import (
    AdapterPayload,
    pack_tensors,
    read_metadata,
    read_tensors,
)
from memos_ray.errors import InvalidInputError, StoreCorruptError

_MANIFEST = "memos_adapter"
_FORMAT = "1"


def write(payload: AdapterPayload) -> bytes:
    """Returns the file of an adapter.

    Raises:
        InvalidInputError: its tensors are not in the canonical order; see `pack_tensors`.
    """
    tensors = read_tensors(payload.data)
    if not np.array_equal(pack_tensors(tensors), payload.data):
        raise InvalidInputError("the adapter's tensors are not in the canonical order")
    manifest = orjson.dumps(_values(payload.manifest)).decode()
    # `pt` is what PEFT asks a file of tensors to say.
    metadata = {_MANIFEST: manifest, "version": _FORMAT, "format": "pt"}
    return pack_tensors(tensors, metadata).tobytes()


def read(data: bytes) -> AdapterPayload:
    """Returns the adapter of a file.

    Raises:
        StoreCorruptError: this is not the file of an adapter, or it is damaged.
    """
    try:
        raw = np.frombuffer(data, dtype=np.uint8)
        about = read_metadata(raw)
        if about["version"] != _FORMAT:
            raise ValueError("another format")
        said = orjson.loads(about[_MANIFEST])
        payload = AdapterPayload.seal(
            pack_tensors(read_tensors(raw)),
            base=str(said["base"]),
            rank=int(said["rank"]),
            alpha=float(said["alpha"]),
            origin=_origin_of(said["origin"]),
        )
        if payload.manifest.digest != said["digest"]:
            raise ValueError("another digest")
    except (ValueError, KeyError, TypeError, AttributeError, InvalidInputError):
        raise StoreCorruptError("this is not the file of an adapter") from None
    return payload


def _values(manifest: AdapterManifest) -> dict[str, Any]:
    origin = manifest.origin
    return {
        "digest": manifest.digest,
        "base": manifest.base,
        "rank": manifest.rank,
        "alpha": manifest.alpha,
        "origin": {
            "sources": [[source.cube_id, source.version] for source in origin.sources],
            "recipe": origin.recipe,
            "seed": origin.seed,
            "parents": list(origin.parents),
        },
    }


def _origin_of(values: dict[str, Any]) -> AdapterOrigin:
    return AdapterOrigin(
        sources=tuple(SourceVersion(str(name), int(number)) for name, number in values["sources"]),
        recipe=str(values["recipe"]),
        seed=int(values["seed"]),
        parents=tuple(map(str, values["parents"])),
    )
