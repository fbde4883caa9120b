"""Adapters at rest: files of which no two are the same, whatever weights they hold."""

from __future__ import annotations

import numpy as np

from memos_ray.core.parameter.payload import AdapterPayload, Bytes, named_header
from memos_ray.errors import InvalidInputError

_MEMORY, _EPOCH = "memos_memory", "memos_epoch"


def at_rest(payload: AdapterPayload, memory_id: str, epoch: int) -> bytes:
    """Returns the file of an adapter: its weights, and for whom they rest there.

    Stores name files by their content. Files that say whose they are can be erased without a look
    at who else has the same weights, and without a thought of who lays them down at the same time.

    Args:
        memory_id: of the parameter memory.
        epoch: of the shard's hold of the partition.

    Raises:
        InvalidInputError: the weights are in no form that `weights_of` gives back.
    """
    head, body = named_header(payload.data, {_MEMORY: memory_id, _EPOCH: str(epoch)})
    data = head + body.tobytes()
    if not np.array_equal(weights_of(data), payload.data):
        raise InvalidInputError("the adapter is not in the form that adapters have here")
    return data


def weights_of(data: bytes) -> Bytes:
    """Returns the safetensors file that was laid down, without what was added to it.

    Raises:
        InvalidInputError: the bytes are no safetensors file.
    """
    head, body = named_header(np.frombuffer(data, np.uint8), {})
    return np.concatenate([np.frombuffer(head, np.uint8), body])
