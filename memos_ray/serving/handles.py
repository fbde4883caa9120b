"""Model replicas as their callers see them: errors are ours, whatever happens to a replica."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import ray
from ray import serve
from ray.exceptions import RayActorError, RayTaskError, TaskCancelledError
from ray.serve.exceptions import BackPressureError, RayServeException

from memos_ray.core.activation import (
    KvManifest,
    KvPayload,
    SourceVersion,
)
from memos_ray.core.generation import ChatRequest, GenerationPart, ReplicaStatus
from memos_ray.errors import (
    DeadlineExceededError,
    InternalError,
    InvalidInputError,
    MemosError,
    NotFoundError,
    OverloadedError,
    UnavailableError,
)
from memos_ray.serving.deployment import application_of

_TRIES = 3


class ModelHandle:
    """The replicas of one model. Implements `ports.ModelPort`.

    Args:
        answer_s: deadline of an answer, waiting for a replica included.
    """

    def __init__(self, model: str, answer_s: float = 600.0) -> None:
        self._model = model
        self._answer_s = answer_s
        self._handle: Any = None

    async def chat(
        self, request: ChatRequest, kv: Sequence[Any] = (), weights: Any = None
    ) -> AsyncGenerator[GenerationPart, None]:
        """Yields an answer as it comes; leaving early cancels it. See `ModelPort`.

        A replica that dies before the first part is replaced by another, unseen.

        Raises:
            OverloadedError: too many requests wait.
            DeadlineExceededError: the answer took too long; nobody goes on with it.
            UnavailableError: no replica answers, or the one that did has died.
            MemosError: what the replica raised.
        """
        deadline = asyncio.get_running_loop().time() + self._answer_s
        for attempt in range(_TRIES):
            begun = False
            stream = None
            try:
                handle = self._open().chat.options(stream=True)
                stream = handle.remote(request, list(kv), _listed(weights))
                while True:
                    async with asyncio.timeout_at(deadline):
                        part = await anext(stream)
                    begun = True
                    yield part
            except StopAsyncIteration:
                stream = None
                return
            except TimeoutError:
                raise DeadlineExceededError(
                    "the answer took too long", model=self._model, limit_s=self._answer_s
                ) from None
            except Exception as error:
                # It has ended; to cancel it would only raise the same again.
                stream = None
                died = isinstance(error, RayActorError)
                if begun or not died or attempt + 1 == _TRIES:
                    raise _ours(error, self._model) from None
            finally:
                if stream is not None:
                    stream.cancel()

    async def close(self) -> None:
        """Nothing is held: Serve's router is the process's own."""

    async def build_kv(
        self,
        shared: str,
        *,
        salt: str,
        adapter: str = "",
        weights: Any = None,
        sources: tuple[SourceVersion, ...] = (),
    ) -> Any:
        """Computes a KV cache; returns a reference to the `KvPayload`, which this process owns.

        Args:
            weights: reference to the `AdapterPayload` of the adapter.

        Raises:
            InvalidInputError: the text is shorter than a block, or too long.
            NotFoundError: the adapter cannot be had.
            UnavailableError: no replica answers.
        """
        return await self._built("build_kv", shared, salt, adapter, _listed(weights), sources)

    async def export_kv(
        self,
        tokens: tuple[int, ...],
        *,
        salt: str,
        adapter: str = "",
        weights: Any = None,
        sources: tuple[SourceVersion, ...] = (),
        start: int = 0,
    ) -> Any:
        """Computes the KV cache of a conversation from token `start`; returns as `build_kv` does.

        Raises:
            InvalidInputError: there is no whole block behind `start`, or too many tokens.
            NotFoundError: the adapter cannot be had.
            UnavailableError: no replica answers.
        """
        return await self._built(
            "export_kv", tokens, salt, adapter, _listed(weights), sources, start
        )

    async def status(self) -> ReplicaStatus:
        """Returns what one of the replicas says of itself."""
        try:
            found: ReplicaStatus = await self._open().status.remote()
        except Exception as error:
            raise _ours(error, self._model) from None
        return found

    async def _built(self, method: str, *arguments: object) -> Any:
        try:
            response = getattr(self._open(), method).remote(*arguments)
            # What a replica returns belongs to whoever called it, and so outlives the replica.
            reference = await response._to_object_ref()
            await response
        except Exception as error:
            raise _ours(error, self._model) from None
        return reference

    def _open(self) -> Any:
        if self._handle is None:
            self._handle = serve.get_app_handle(application_of(self._model))
        return self._handle


def _listed(reference: Any) -> list[Any]:
    # Serve would fetch a reference that stands alone.
    return [] if reference is None else [reference]


def _ours(error: Exception, model: str) -> MemosError:
    if isinstance(error, MemosError):
        return error
    if isinstance(error, RayTaskError):
        origin = error.cause
        if isinstance(origin, MemosError):
            return origin
        return InternalError("a replica failed unexpectedly", kind=type(origin).__name__)
    if isinstance(error, BackPressureError):
        return OverloadedError("too many requests wait for the model", model=model)
    if isinstance(error, RayActorError):
        return UnavailableError("the replica has died", model=model)
    if isinstance(error, RayServeException | TaskCancelledError | ray.exceptions.RayError):
        return UnavailableError("the model does not answer", model=model)
    raise error


class ReplicaKvBuilder:
    """Builds KV caches on the replicas of this cluster's models. Implements `KvBuilderPort`.

    Args:
        models: names of those that have replicas.
        external: names of those that an endpoint computes, which takes no caches.
    """

    def __init__(self, models: Sequence[str], external: Sequence[str] = ()) -> None:
        self._models = {name: ModelHandle(name) for name in models}
        self._external = frozenset(external)

    async def build(
        self,
        model: str,
        shared: str,
        *,
        salt: str,
        sources: tuple[SourceVersion, ...],
        adapter: str = "",
        weights: object | None = None,
    ) -> tuple[KvManifest, object]:
        """Computes the cache of a prompt's beginning; see `KvBuilderPort`."""
        return await _with_manifest(
            await self._handle(model).build_kv(
                shared, salt=salt, adapter=adapter, weights=weights, sources=sources
            )
        )

    async def extend(
        self,
        model: str,
        tokens: tuple[int, ...],
        *,
        salt: str,
        start: int,
        sources: tuple[SourceVersion, ...],
    ) -> tuple[KvManifest, object]:
        """Computes the cache of a conversation from `start` on; see `KvBuilderPort`."""
        return await _with_manifest(
            await self._handle(model).export_kv(tokens, salt=salt, sources=sources, start=start)
        )

    def _handle(self, model: str) -> ModelHandle:
        if model in self._external:
            raise InvalidInputError("an endpoint computes this model: no KV caches", model=model)
        handle = self._models.get(model)
        if handle is None:
            raise NotFoundError("there is no such model", model=model, known=list(self._models))
        return handle


async def _with_manifest(reference: Any) -> tuple[KvManifest, object]:
    payload: KvPayload = await reference
    return payload.manifest, reference
