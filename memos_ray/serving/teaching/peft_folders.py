"""Adapters in folders as PEFT writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from memos_ray.core.parameter import AdapterPayload
from memos_ray.core.parameter.peft_format import CONFIG_FILE, TENSORS_FILE, from_peft, to_peft
from memos_ray.errors import InvalidInputError, NotFoundError, PayloadTooLargeError

_CONFIG_MAX = 1 << 20


def export_folder(payload: AdapterPayload, folder: Path, base_name: str = "") -> None:
    """Writes an adapter into a folder that PEFT loads.

    Raises:
        InvalidInputError: the folder has files already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise InvalidInputError("the folder is not empty", folder=str(folder))
    for name, data in to_peft(payload, base_name).items():
        (folder / name).write_bytes(data)


def import_folder(folder: Path, *, base: str, bytes_max: int) -> AdapterPayload:
    """Reads an adapter from a folder; whether it fits the model, `check` decides.

    Args:
        base: digest of the weights of the model that it is for.
        bytes_max: largest adapter.

    Raises:
        NotFoundError: a file is missing; nothing but safetensors is read.
        PayloadTooLargeError: a file is too large.
        InvalidInputError: it is no plain LoRA adapter.
    """
    config = _content(folder / CONFIG_FILE, _CONFIG_MAX)
    tensors = _content(folder / TENSORS_FILE, bytes_max)
    return from_peft(config, np.frombuffer(tensors, np.uint8), base=base)


def _content(file: Path, bytes_max: int) -> bytes:
    if not file.is_file():
        raise NotFoundError("the folder lacks a file", file=file.name)
    if (size := file.stat().st_size) > bytes_max:
        raise PayloadTooLargeError("a file is too large", file=file.name, size_bytes=size)
    return file.read_bytes()
