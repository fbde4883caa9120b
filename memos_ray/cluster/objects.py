"""Ray's object store, as actors see it."""

from __future__ import annotations

import asyncio
from typing import Any

import ray

from memos_ray.errors import UnavailableError


class RayObjects:
    """Implements `ports.ObjectsPort`; what is put belongs to this process."""

    async def put(self, value: Any) -> object:
        """See `ObjectsPort`; copying happens beside the event loop."""
        return await asyncio.to_thread(ray.put, value)

    async def get(self, reference: object) -> Any:
        """See `ObjectsPort`."""
        try:
            return await reference  # type: ignore[misc]
        except ray.exceptions.RayError as error:
            raise UnavailableError("an object is lost", kind=type(error).__name__) from None
