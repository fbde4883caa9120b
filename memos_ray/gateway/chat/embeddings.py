"""The cluster's embedding model, for callers' own use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from memos_ray.core.retrieval.space import EmbeddingSpace
from memos_ray.errors import DimensionMismatchError, NotFoundError, OverloadedError
from memos_ray.gateway.callers import Authenticator, Caller
from memos_ray.ports import EmbedderPort, Vectors

_BATCH_TEXTS = 32
_CALLS_MOST = 64


class EmbeddingService:
    """Embeds texts.

    Concurrency: one batch is under way at a time, and calls take turns batch by batch. So a long
    call holds up neither another one nor the searches, which embed on the same cores.
    """

    def __init__(self, authenticator: Authenticator, embedder: Callable[[], EmbedderPort]) -> None:
        self._authenticator = authenticator
        self._embedder = embedder
        self._turn = asyncio.Lock()
        self._calls = 0

    async def space(self) -> EmbeddingSpace:
        """Returns the space of the vectors; its name is the model's.

        Raises:
            EmbedderError: the model cannot be had.
        """
        return (await asyncio.to_thread(self._embedder)).space

    async def embed(
        self, caller: Caller, model: str, texts: Sequence[str], dim: int | None = None
    ) -> Vectors:
        """Embeds texts: float32 `[len(texts), dim]`, rows of unit length, in order.

        Args:
            dim: what the caller expects; the model's when absent.

        Raises:
            UnauthenticatedError: no credential, or one that nobody knows.
            NotFoundError: there is no such model.
            DimensionMismatchError: the model's vectors have another length.
            OverloadedError: too many calls wait.
            EmbedderError: the model is away or fails.
        """
        await self._authenticator.context(caller)
        embedder = await asyncio.to_thread(self._embedder)
        space = embedder.space
        if model != space.name:
            raise NotFoundError("there is no such model", model=model, known=[space.name])
        if dim is not None and dim != space.dim:
            raise DimensionMismatchError(
                "this model's vectors have another length", expected=space.dim, found=dim
            )
        with self._admitted():
            return np.concatenate(
                [
                    await self._batch(embedder, texts[start : start + _BATCH_TEXTS])
                    for start in range(0, len(texts), _BATCH_TEXTS)
                ]
            )

    @contextmanager
    def _admitted(self) -> Iterator[None]:
        if self._calls >= _CALLS_MOST:
            raise OverloadedError("too many calls wait for the embedding model")
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1

    async def _batch(self, embedder: EmbedderPort, texts: Sequence[str]) -> Vectors:
        async with self._turn:
            return await asyncio.to_thread(embedder.embed, texts)
