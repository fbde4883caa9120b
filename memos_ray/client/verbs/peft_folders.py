"""Adapters in folders as PEFT writes them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from memos_ray.core.parameter.peft_format import CONFIG_FILE, TENSORS_FILE
from memos_ray.errors import InvalidInputError, NotFoundError, PayloadTooLargeError
from memos_ray.gateway.parameter.models import AdapterFiles

_CONFIG_MAX = 1 << 20
_TENSORS_MAX = 1 << 30
_PICKLE = "adapter_model.bin"


async def write_folder(folder: Path, files: AdapterFiles) -> None:
    """Writes an adapter into a folder that PEFT loads; never a half of one.

    Raises:
        InvalidInputError: this is no folder, or it has files already.
    """
    draft = await asyncio.to_thread(_begun, folder)
    try:
        with draft.open("wb") as opened:
            async for piece in files.tensors:
                await asyncio.to_thread(opened.write, piece)
        await asyncio.to_thread(_finish, folder, draft, files.config)
    finally:
        draft.unlink(missing_ok=True)


def read_folder(folder: Path) -> tuple[bytes, bytes]:
    """Returns the files of an adapter, unread: its configuration and its tensors.

    Raises:
        NotFoundError: a file is missing.
        InvalidInputError: the tensors are pickled.
        PayloadTooLargeError: a file is too large.
    """
    if not (folder / TENSORS_FILE).is_file() and (folder / _PICKLE).is_file():
        raise InvalidInputError(
            "pickles are never read; save the adapter as safetensors", file=_PICKLE
        )
    return _content(folder / CONFIG_FILE, _CONFIG_MAX), _content(
        folder / TENSORS_FILE, _TENSORS_MAX
    )


def _begun(folder: Path) -> Path:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InvalidInputError("this is not an empty folder", folder=str(folder))
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{TENSORS_FILE}.part"


def _finish(folder: Path, draft: Path, config: bytes) -> None:
    (folder / CONFIG_FILE).write_bytes(config)
    draft.rename(folder / TENSORS_FILE)


def _content(file: Path, bytes_max: int) -> bytes:
    if not file.is_file():
        raise NotFoundError("the folder lacks a file", file=file.name)
    if (size := file.stat().st_size) > bytes_max:
        raise PayloadTooLargeError("a file is too large", file=file.name, size_bytes=size)
    return file.read_bytes()
