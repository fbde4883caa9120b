"""How every part of the handle reaches the shard."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any


class Calls(ABC):
    """A part of a shard's handle."""

    @abstractmethod
    async def _call(self, method: str, *args: Any, timeout_s: float | None = None) -> Any:
        """Asks the shard; raises as `RemoteActor.call`."""
