"""Named pipelines that namespaces keep."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pydantic import TypeAdapter, ValidationError

from memos_ray.core.crossing import crossing
from memos_ray.core.pipeline.definition import PipelineSpec
from memos_ray.errors import StoreCorruptError


@crossing
@dataclass(frozen=True, slots=True)
class StoredPipeline:
    """One version of a named pipeline; versions count from 1 and never change."""

    namespace: str
    version: int
    author: str
    at: datetime
    spec: PipelineSpec


_STORED: TypeAdapter[StoredPipeline] = TypeAdapter(StoredPipeline)


def encode_stored(stored: StoredPipeline) -> bytes:
    """Writes a stored pipeline as JSON."""
    return _STORED.dump_json(stored)


def decode_stored(body: bytes) -> StoredPipeline:
    """Reads what `encode_stored` has written.

    Raises:
        StoreCorruptError: it is no stored pipeline.
    """
    try:
        return _STORED.validate_json(body)
    except ValidationError:
        raise StoreCorruptError("a stored pipeline cannot be read") from None
