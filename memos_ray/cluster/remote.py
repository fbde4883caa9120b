"""Calls to actors whose errors are ours, whatever happens to the actor."""

from __future__ import annotations

import asyncio
from typing import Any

import ray
from ray.exceptions import (
    GetTimeoutError,
    RayActorError,
    RayError,
    RayTaskError,
    TaskCancelledError,
)

from memos_ray.errors import (
    DeadlineExceededError,
    InternalError,
    MemosError,
    UnavailableError,
)


class RemoteActor:
    """A named actor, looked up when it is first needed and again after it has died.

    Raises of every call: the `MemosError` that the method raised; `UnavailableError` when the actor
    is away or died under the call (the outcome of a write is then unknown);
    `DeadlineExceededError` when it does not answer in time.
    """

    def __init__(self, name: str, namespace: str, timeout_s: float = 30.0) -> None:
        self.name = name
        self._namespace = namespace
        self._timeout_s = timeout_s
        self._handle: Any = None

    async def call(self, method: str, *args: Any, timeout_s: float | None = None) -> Any:
        """Calls a method and returns its answer."""
        limit = self._timeout_s if timeout_s is None else timeout_s
        try:
            if self._handle is None:
                self._handle = await asyncio.to_thread(
                    ray.get_actor, self.name, namespace=self._namespace
                )
            reference = getattr(self._handle, method).remote(*args)
            # `asyncio.wait_for` may lose a cancellation that comes together with the answer.
            async with asyncio.timeout(limit):
                return await reference
        except RayTaskError as error:
            raise _named(error) from None
        except (TimeoutError, GetTimeoutError, TaskCancelledError):
            raise DeadlineExceededError(
                "the actor did not answer in time", actor=self.name
            ) from None
        except (RayActorError, ValueError) as error:
            # A ValueError says that no actor has this name (yet, or any more).
            self._handle = None
            raise UnavailableError("the actor is away", actor=self.name) from error
        except RayError as error:
            self._handle = None
            raise UnavailableError("Ray could not carry the call", actor=self.name) from error


def _named(error: RayTaskError) -> MemosError:
    origin = error.cause
    if isinstance(origin, MemosError):
        return origin
    return InternalError("an actor failed unexpectedly", kind=type(origin).__name__)
