"""A LoRA adapter in hand: its manifest and the bytes of its safetensors file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
from blake3 import blake3

from memos_ray.core.parameter.manifest import (
    AdapterManifest,
    AdapterOrigin,
    TensorSpec,
    module_of,
)
from memos_ray.errors import InvalidInputError

Bytes = npt.NDArray[np.uint8]

ELEMENTS: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
}
"""Element types of adapters. NumPy has no bfloat16: its bits are read as integers."""

_HEADER_MAX = 16 << 20
_NOWHERE = AdapterOrigin()


@dataclass(frozen=True, slots=True)
class AdapterPayload:
    """A manifest with the safetensors file: a flat uint8 array, possibly read-only."""

    manifest: AdapterManifest
    data: Bytes

    @staticmethod
    def seal(
        data: Bytes, *, base: str, rank: int, alpha: float, origin: AdapterOrigin = _NOWHERE
    ) -> AdapterPayload:
        """Makes a payload of a safetensors file, with its digest.

        Raises:
            InvalidInputError: this is no safetensors file of tensors alone.
        """
        tensors = tuple(spec for spec, _ in read_tensors(data))
        modules = [found[0] for spec in tensors if (found := module_of(spec.name))]
        manifest = AdapterManifest(
            digest=_digest(data, base, rank, alpha),
            base=base,
            rank=rank,
            alpha=alpha,
            targets=tuple(sorted({module.rpartition(".")[2] for module in modules})),
            tensors=tensors,
            size_bytes=data.size,
            origin=origin,
        )
        return AdapterPayload(manifest, data)

    def intact(self) -> bool:
        """Tells whether this is what the manifest's digest speaks of; 3 GB/s."""
        manifest = self.manifest
        return manifest.digest == _digest(self.data, manifest.base, manifest.rank, manifest.alpha)


def read_tensors(data: Bytes) -> list[tuple[TensorSpec, npt.NDArray[Any]]]:
    """Returns the tensors of a safetensors file, as views of its bytes; see `ELEMENTS`.

    Raises:
        InvalidInputError: the bytes are no safetensors file of tensors alone.
    """
    with _described():
        return [
            (spec, part.view(ELEMENTS[spec.dtype]).reshape(spec.shape))
            for spec, part in _layout(data)
        ]


def read_metadata(data: Bytes) -> dict[str, str]:
    """Returns what a safetensors file says of itself.

    Raises:
        InvalidInputError: the bytes are no safetensors file.
    """
    with _described():
        _, header = _header(data)
        return {str(name): str(said) for name, said in header.get("__metadata__", {}).items()}


def named_header(data: Bytes, metadata: Mapping[str, str]) -> tuple[bytes, Bytes]:
    """Has a safetensors file say other things of itself: returns its new beginning, and its rest.

    Args:
        metadata: what it says; nothing when empty.

    Raises:
        InvalidInputError: the bytes are no safetensors file.
    """
    with _described():
        begin, header = _header(data)
        header.pop("__metadata__", None)
        said = {"__metadata__": dict(metadata)} if metadata else {}
        return _head({**header, **said}), data[begin:]


def pack_tensors(
    tensors: Iterable[tuple[TensorSpec, npt.NDArray[Any]]],
    metadata: Mapping[str, str] | None = None,
) -> Bytes:
    """Returns a safetensors file in the canonical order: wide elements first, then by name.

    The same tensors always give the same bytes.

    Args:
        tensors: as `read_tensors` gives them.
        metadata: what the file says of itself.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    body: list[Bytes] = []
    end = 0
    for spec, tensor in sorted(tensors, key=_canonical):
        stored = np.ascontiguousarray(tensor, dtype=ELEMENTS[spec.dtype])
        body.append(stored.reshape(-1).view(np.uint8))
        start, end = end, end + body[-1].size
        header[spec.name] = {
            "dtype": spec.dtype,
            "shape": list(spec.shape),
            "data_offsets": [start, end],
        }
    return np.concatenate([np.frombuffer(_head(header), np.uint8), *body])


def _head(header: Mapping[str, Any]) -> bytes:
    encoded = orjson.dumps(header)
    encoded += b" " * (-len(encoded) % 8)
    return len(encoded).to_bytes(8, "little") + encoded


def _canonical(one: tuple[TensorSpec, npt.NDArray[Any]]) -> tuple[int, str]:
    # Behind wide elements narrow ones are aligned, whatever their number.
    return -ELEMENTS[one[0].dtype].itemsize, one[0].name


def _digest(data: Bytes, base: str, rank: int, alpha: float) -> str:
    head = orjson.dumps({"alpha": float(alpha), "base": base, "rank": rank})
    # With its length, so that the head cannot pass for the beginning of the file.
    hashed = blake3(len(head).to_bytes(4, "big") + head, max_threads=blake3.AUTO)
    return hashed.update(data.data).hexdigest()


def _layout(data: Bytes) -> list[tuple[TensorSpec, Bytes]]:
    """Reads the header of a safetensors file: its tensors with their bytes, in their order."""
    begin, header = _header(data)
    header.pop("__metadata__", None)
    body = data[begin:]
    found, end = [], 0
    for name, about in sorted(header.items(), key=lambda one: one[1]["data_offsets"][0]):
        spec = TensorSpec(str(name), str(about["dtype"]), _whole(about["shape"]))
        start, stop = _whole(about["data_offsets"])
        # In numbers that have no end: two large ones may be nothing in 64 bits.
        size = ELEMENTS[spec.dtype].itemsize * math.prod(spec.shape)
        if start != end or stop - start != size or min(spec.shape, default=1) < 1:
            raise ValueError("a tensor does not fit")
        # The bytes of a file lie anywhere; of a tensor they must be aligned.
        if (begin + start) % ELEMENTS[spec.dtype].itemsize:
            raise ValueError("a tensor is not aligned")
        found.append((spec, body[start:stop]))
        end = stop
    if end != body.size:
        raise ValueError("bytes that belong to no tensor")
    return found


def _whole(numbers: Any) -> tuple[int, ...]:
    if not isinstance(numbers, list) or not all(type(each) is int for each in numbers):
        raise TypeError("no list of whole numbers")
    return tuple(numbers)


def _header(data: Bytes) -> tuple[int, dict[str, Any]]:
    """Returns where the tensors begin, and what is said of them."""
    length = int.from_bytes(data[:8].tobytes(), "little")
    if not 0 < length <= min(_HEADER_MAX, data.size - 8):
        raise ValueError("no header")
    header = orjson.loads(data[8 : 8 + length].tobytes())
    if not isinstance(header, dict) or not isinstance(header.get("__metadata__", {}), dict):
        raise TypeError("no header")
    return 8 + length, header


@contextmanager
def _described() -> Iterator[None]:
    """Turns whatever reading foreign bytes runs into into an error that says so."""
    try:
        yield
    except (LookupError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise InvalidInputError(
            "this is no safetensors file of an adapter", reason="format", kind=type(error).__name__
        ) from None
