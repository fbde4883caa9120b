"""Large objects that processes of a cluster share."""

from __future__ import annotations

from typing import Any, Protocol


class ObjectsPort(Protocol):
    """The object store: values by reference, on whatever node they are needed."""

    async def put(self, value: Any) -> object:
        """Stores a value and returns a reference; the object goes when the last one does, or with
        this process.
        """
        ...

    async def get(self, reference: object) -> Any:
        """Returns a value, arrays in place and read-only.

        Raises:
            UnavailableError: it is lost.
        """
        ...
