"""KV caches as safetensors files: one tensor of bytes a rank, the manifest as metadata."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson

from memos_ray.core.activation.manifest import KvLayout, KvManifest, SourceVersion
from memos_ray.core.activation.payload import KvPayload
from memos_ray.errors import StoreCorruptError

_MANIFEST = "memos_kv"
_FORMAT = "2"
_HEADER_MAX = 16 << 20
_CHUNK_BYTES = 8 << 20


def write(payload: KvPayload) -> Iterator[bytes]:
    """Yields the file of a cache, piece by piece: no second copy of it is made."""
    manifest = orjson.dumps(_values(payload.manifest)).decode()
    header: dict[str, Any] = {"__metadata__": {_MANIFEST: manifest, "format": _FORMAT}}
    end = 0
    for number, rank in enumerate(payload.ranks):
        start, end = end, end + rank.size
        header[f"rank{number}"] = {
            "dtype": "U8",
            "shape": [rank.size],
            "data_offsets": [start, end],
        }
    encoded = orjson.dumps(header)
    encoded += b" " * (-len(encoded) % 8)
    yield len(encoded).to_bytes(8, "little") + encoded
    for rank in payload.ranks:
        for start in range(0, rank.size, _CHUNK_BYTES):
            yield rank[start : start + _CHUNK_BYTES].tobytes()


def read(data: bytes) -> KvPayload:
    """Returns the cache of a file, without copying it; whether it is intact is checked at its use.

    Raises:
        StoreCorruptError: this is not the file of a cache.
    """
    try:
        length = int.from_bytes(data[:8], "little")
        if not 0 < length <= min(_HEADER_MAX, len(data) - 8):
            raise ValueError("no header")
        header = orjson.loads(data[8 : 8 + length])
        about = header.pop("__metadata__")
        if about["format"] != _FORMAT:
            raise ValueError("another format")
        manifest = _manifest_of(orjson.loads(about[_MANIFEST]))
        body = np.frombuffer(data, dtype=np.uint8)[8 + length :]
        ranks = []
        for number in range(len(manifest.ranks)):
            tensor = header.pop(f"rank{number}")
            start, end = tensor["data_offsets"]
            if tensor["dtype"] != "U8" or not 0 <= start <= end <= body.size:
                raise ValueError("a tensor does not fit")
            ranks.append(body[start:end])
        if header or any(rank.size != manifest.rank_bytes for rank in ranks):
            raise ValueError("other tensors than the manifest says")
    except (ValueError, KeyError, TypeError, AttributeError, orjson.JSONDecodeError):
        raise StoreCorruptError("this is not the file of a KV cache") from None
    return KvPayload(manifest, tuple(ranks))


def _values(manifest: KvManifest) -> dict[str, Any]:
    return {
        "key": manifest.key,
        "links": manifest.links,
        "start": manifest.start,
        "tokens": manifest.tokens,
        "model": manifest.model,
        "engine": manifest.engine,
        "adapter": manifest.adapter,
        "layout": manifest.layout.value,
        "ranks": list(manifest.ranks),
        "rank_bytes": manifest.rank_bytes,
        "sources": [[source.cube_id, source.version] for source in manifest.sources],
    }


def _manifest_of(values: dict[str, Any]) -> KvManifest:
    return KvManifest(
        key=str(values["key"]),
        links=str(values["links"]),
        tokens=int(values["tokens"]),
        start=int(values["start"]),
        model=str(values["model"]),
        engine=str(values["engine"]),
        adapter=str(values["adapter"]),
        layout=KvLayout(values["layout"]),
        ranks=tuple(map(str, values["ranks"])),
        rank_bytes=int(values["rank_bytes"]),
        sources=tuple(SourceVersion(str(name), int(number)) for name, number in values["sources"]),
    )
