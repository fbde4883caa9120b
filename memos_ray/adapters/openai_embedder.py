"""An embedder behind an OpenAI-compatible `/embeddings` endpoint.

Speaks the common part of that protocol (`model`, `input`, float vectors with an `index`), so that
it works with the original service as well as with vLLM, Ollama, TEI and other servers.
"""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Iterator, Sequence

import httpx
import numpy as np
import numpy.typing as npt

from memos_ray.adapters.openai_http import base_of, headers_of, retry_after_s
from memos_ray.core.retrieval.space import EmbeddingSpace
from memos_ray.errors import (
    ConfigurationError,
    DimensionMismatchError,
    EmbedderError,
    InvalidInputError,
    MemosError,
)

_BATCH_CHARS = 200_000
_LONGEST_WAIT_S = 30.0


class OpenAIEmbedder:
    """Embeds texts through HTTP.

    The endpoint cannot tell its weights, so the space is what the caller declares: model, dimension
    and, where a server changes weights under one model name, a revision. The address is left out:
    moving a server must not make stored vectors stale.

    Concurrency: safe to call from several threads; a call blocks, so async callers use a thread.
    """

    def __init__(
        self,
        *,
        base_url: str,
        model: str,
        dim: int,
        api_key: str | None = None,
        revision: str = "",
        request_dim: bool = False,
        batch_size: int = 128,
        max_chars: int = 24_000,
        timeout_s: float = 30.0,
        attempts: int = 5,
        backoff_s: float = 0.5,
    ) -> None:
        """Prepares the client; nothing is sent yet.

        Args:
            base_url: address up to and without `/embeddings`, such as `https://host/v1`.
            model: name of the model at the endpoint.
            dim: number of components the model returns.
            api_key: bearer token; it is never logged and never part of an error.
            revision: distinguishes weights that share a model name.
            request_dim: whether to send `dimensions`, for models that can shorten their vectors.
            batch_size: texts in one request, at most.
            max_chars: a text is cut here, so that it stays within the model's context.
            timeout_s: for each attempt.
            attempts: attempts in all for one request.
            backoff_s: mean wait before the second attempt; doubles with each further one.
        """
        identity = json.dumps([model, dim, revision, max_chars]).encode()
        self._space = EmbeddingSpace(
            name=f"{model}@{revision}" if revision else model,
            dim=dim,
            digest=hashlib.blake2b(b"openai\0" + identity, digest_size=16).hexdigest(),
        )
        self._body: dict[str, str | int] = {"model": model, "encoding_format": "float"}
        if request_dim:
            self._body["dimensions"] = dim
        self._batch_size = batch_size
        self._max_chars = max_chars
        self._attempts = attempts
        self._backoff_s = backoff_s
        # Redirects stay off (httpx's default): they would carry the key to another host.
        self._client = httpx.Client(
            base_url=base_of(base_url),
            headers=headers_of(api_key),
            timeout=timeout_s,
        )

    @property
    def space(self) -> EmbeddingSpace:
        """The declared space."""
        return self._space

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Embeds texts, in their order.

        Returns:
            float32 `[len(texts), dim]`, rows of unit length.

        Raises:
            DimensionMismatchError: vectors of another length than declared.
            InvalidInputError: the endpoint refuses the texts for good.
            ConfigurationError: the endpoint refuses the key or does not know the model.
            EmbedderError: the endpoint is away, too slow, overloaded, or answers nonsense.
        """
        vectors = np.empty((len(texts), self._space.dim), np.float32)
        for start, batch in self._batches(texts):
            vectors[start : start + len(batch)] = self._vectors(batch)
        return vectors

    def legible(self, text: str) -> float:
        """Everything, as far as one can know."""
        return 1.0

    def _batches(self, texts: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
        batch: list[str] = []
        chars = start = 0
        for text in texts:
            # The original service refuses empty texts; a lone surrogate cannot be sent at all.
            ready = text[: self._max_chars].encode("utf-8", "replace").decode("utf-8") or " "
            if batch and (len(batch) == self._batch_size or chars + len(ready) > _BATCH_CHARS):
                yield start, batch
                start, chars, batch = start + len(batch), 0, []
            batch.append(ready)
            chars += len(ready)
        if batch:
            yield start, batch

    def _vectors(self, batch: list[str]) -> npt.NDArray[np.float32]:
        answer = self._post(batch)
        try:
            entries = sorted(answer.json()["data"], key=lambda entry: int(entry["index"]))
            places = [int(entry["index"]) for entry in entries]
            rows = [np.asarray(entry["embedding"], np.float32) for entry in entries]
        except (ValueError, KeyError, TypeError) as error:
            raise EmbedderError("the embedding endpoint answered in another format") from error
        if places != list(range(len(batch))):
            raise EmbedderError(
                "the embedding endpoint answered for other texts than asked",
                asked=len(batch),
                answered=len(places),
            )
        for row in rows:
            if row.shape != (self._space.dim,):
                raise DimensionMismatchError(
                    "the embedding endpoint returns vectors of another length than configured",
                    configured=self._space.dim,
                    returned=int(row.size),
                    model=self._space.name,
                )
        matrix = np.stack(rows)
        norms = np.linalg.norm(matrix.astype(np.float64), axis=1, keepdims=True)
        if not np.isfinite(norms).all() or not norms.all():
            raise EmbedderError("the embedding endpoint returned a vector without direction")
        unit: npt.NDArray[np.float32] = (matrix / norms).astype(np.float32)
        return unit

    def _post(self, batch: list[str]) -> httpx.Response:
        """One request, tried again while the failure may pass."""
        failure: MemosError = EmbedderError("the embedding endpoint was not asked")
        for attempt in range(self._attempts):
            wait_s = self._backoff_s * 2**attempt * random.uniform(0.5, 1.5)
            try:
                answer = self._client.post("embeddings", json={**self._body, "input": batch})
            except httpx.HTTPError as error:
                # The type says enough; the message could repeat the address with credentials.
                failure = EmbedderError(
                    "the embedding endpoint cannot be reached", reason=type(error).__name__
                )
            else:
                if answer.is_success:
                    return answer
                status = answer.status_code
                if status not in (408, 409, 429) and status < 500:
                    raise _refusal(status)
                failure = EmbedderError("the embedding endpoint is failing", status=status)
                wait_s = max(wait_s, retry_after_s(answer))
            if attempt + 1 < self._attempts:
                time.sleep(min(wait_s, _LONGEST_WAIT_S))
        raise failure


def _refusal(status: int) -> MemosError:
    if status in (400, 413, 422):
        return InvalidInputError("the embedding endpoint refuses these texts", status=status)
    return ConfigurationError("the embedding endpoint refuses the request", status=status)
