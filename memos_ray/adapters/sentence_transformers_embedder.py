"""Any sentence-transformers model as an embedder.

The library brings torch with it, so it is imported only when an instance is made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from memos_ray.core.retrieval.space import EmbeddingSpace
from memos_ray.errors import ConfigurationError, EmbedderError


class SentenceTransformersEmbedder:
    """Embeds texts with a sentence-transformers model in this process.

    Concurrency: safe to call from several threads; a call blocks, so async callers use a thread.
    """

    def __init__(
        self,
        model: str,
        *,
        device: str = "cpu",
        max_tokens: int | None = None,
        batch_size: int = 32,
        local_only: bool = False,
    ) -> None:
        """Loads the model and hashes its weights.

        Args:
            model: name or folder of the model.
            device: such as `cpu` or `cuda`.
            max_tokens: longest input; the model's own limit when absent.
            batch_size: texts in one pass.
            local_only: never download.

        Raises:
            ConfigurationError: sentence-transformers is not installed.
            EmbedderError: the model cannot be loaded.
        """
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise ConfigurationError(
                "sentence-transformers is not installed", package=str(error.name)
            ) from error
        try:
            self._model: Any = SentenceTransformer(
                model, device=device, local_files_only=local_only
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise EmbedderError("the embedding model cannot be loaded", model=model) from error
        if max_tokens is not None:
            self._model.max_seq_length = max_tokens
        # A bundled tokenizer may pad every text to a fixed length, which costs time only.
        tokenizer = getattr(self._model.tokenizer, "backend_tokenizer", None)
        if tokenizer is not None:
            tokenizer.no_padding()
        self._batch_size = batch_size
        dim = int(self._model.encode("", show_progress_bar=False).shape[-1])
        self._space = EmbeddingSpace(name=model, dim=dim, digest=self._digest(tokenizer))

    def _digest(self, tokenizer: Any) -> str:
        state = hashlib.blake2b(b"sentence-transformers\0", digest_size=16)
        for name, tensor in sorted(self._model.state_dict().items()):
            values = tensor.detach().cpu().float().numpy()
            state.update(json.dumps([name, str(tensor.dtype), values.shape]).encode())
            state.update(np.ascontiguousarray(values).data)
        if tokenizer is not None:
            state.update(tokenizer.to_str().encode())
        state.update(str(self._model.max_seq_length).encode())
        return state.hexdigest()

    @property
    def space(self) -> EmbeddingSpace:
        """The space of every vector this embedder returns."""
        return self._space

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Embeds texts, in their order.

        Returns:
            float32 `[len(texts), dim]`, rows of unit length.

        Raises:
            EmbedderError: the model failed.
        """
        if not texts:
            return np.empty((0, self._space.dim), np.float32)
        # A lone surrogate has no UTF-8 form and would fail in the tokenizer.
        ready = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        try:
            vectors = self._model.encode(
                ready,
                batch_size=self._batch_size,
                normalize_embeddings=True,
                convert_to_numpy=True,
                show_progress_bar=False,
            )
        except RuntimeError as error:
            raise EmbedderError("the embedding model failed", model=self._space.name) from error
        return np.asarray(vectors, np.float32)

    def legible(self, text: str) -> float:
        """How much of a text the vocabulary knows; whether it was trained on it remains open."""
        tokenizer = self._model.tokenizer
        tokens = tokenizer.tokenize(text.encode("utf-8", "replace").decode("utf-8"))
        unknown = getattr(tokenizer, "unk_token", None)
        return 1.0 - tokens.count(unknown) / len(tokens) if tokens and unknown else 1.0
