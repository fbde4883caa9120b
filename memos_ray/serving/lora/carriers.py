"""Carries adapters into vLLM's workers, without a file outside of memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from memos_ray.core.parameter import AdapterPayload
from memos_ray.errors import InvalidInputError
from memos_ray.serving.kv.desk import Desk

EXTENSION = "memos_ray.serving.lora.worker.AdapterExtension"
"""What vLLM's workers are extended with (`worker_extension_cls`)."""

_HOLD, _PLACE, _DROP = "memos_hold_adapter", "memos_place_adapters", "memos_drop_adapter"

WorkerCall = Callable[[str, tuple[Any, ...]], Awaitable[list[Any]]]


class WorkerCarrier:
    """Implements `AdapterCarrier` for the workers of one engine.

    Args:
        call: calls a method of each worker, by name.
        desk: where the bytes lie meanwhile: this process' own memory when the workers are in it.
        place: of the desk, as `open_desk` takes it.
    """

    def __init__(self, call: WorkerCall, desk: Desk, place: str) -> None:
        self._call = call
        self._desk = desk
        self._place = place

    async def hold(self, number: int, payload: AdapterPayload) -> None:
        """See `AdapterCarrier`."""
        manifest = payload.manifest
        config = {
            "r": manifest.rank,
            "lora_alpha": manifest.alpha,
            "target_modules": list(manifest.targets),
        }
        await asyncio.to_thread(self._desk.lay, manifest.digest, 0, payload.data)
        try:
            arguments = (number, config, self._place, manifest.digest)
            refused = [why for why in await self._call(_HOLD, arguments) if why is not None]
        finally:
            self._desk.clear(manifest.digest)
        if refused:
            await self.drop(number)
            raise InvalidInputError(
                f"the engine cannot use the adapter: {refused[0]}", adapter=manifest.digest
            )

    async def place(self, numbers: tuple[int, ...]) -> None:
        """See `AdapterCarrier`."""
        await self._call(_PLACE, (list(numbers),))

    async def drop(self, number: int) -> None:
        """See `AdapterCarrier`."""
        await self._call(_DROP, (number,))
