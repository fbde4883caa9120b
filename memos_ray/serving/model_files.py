"""Digests of a model's files, by which caches and adapters are tied to it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import orjson
from blake3 import blake3

from memos_ray.errors import ConfigurationError

_TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
)
_WEIGHT = ".weight"
_IN_BLOCK = re.compile(r"\.\d+\..*\.weight$")
_HEADER_MAX = 100 << 20


def weights_digest(folder: Path) -> str:
    """Returns the digest of a model's configuration and weights, 64 hex digits.

    Raises:
        ConfigurationError: this is no folder of a model in safetensors.
    """
    weights = sorted(folder.glob("*.safetensors"))
    if not weights or not (folder / "config.json").is_file():
        raise ConfigurationError("no model in safetensors is in this folder", folder=str(folder))
    return _digest([folder / "config.json", *weights])


def tokenizer_digest(folder: Path) -> str:
    """Returns the digest of a model's tokenizer and chat template, 64 hex digits."""
    return _digest(folder / name for name in _TOKENIZER if (folder / name).is_file())


def _digest(files: Iterable[Path]) -> str:
    hashed = blake3()
    for file in files:
        own = blake3(max_threads=blake3.AUTO).update_mmap(file)
        hashed.update(file.name.encode() + b"\0" + own.digest())
    return hashed.hexdigest()


def layer_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Returns the shapes `[out, in]` of the weight matrices in a model's blocks, by layer.

    Embeddings are none of them: an adapter of a table has another form. Only headers are read.

    Raises:
        ConfigurationError: a file is no safetensors.
    """
    found: dict[str, tuple[int, ...]] = {}
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with file.open("rb") as opened:
                length = int.from_bytes(opened.read(8), "little")
                header = orjson.loads(opened.read(min(length, _HEADER_MAX)))
        except (OSError, orjson.JSONDecodeError) as error:
            raise ConfigurationError("this is no safetensors file", file=str(file)) from error
        for name, about in header.items():
            if _IN_BLOCK.search(name) and len(about["shape"]) == 2:
                found[name.removesuffix(_WEIGHT)] = tuple(about["shape"])
    return found
