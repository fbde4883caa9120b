"""Which engines can read one another's KV caches.

Two things decide: the *model identity* says which numbers a cache holds, so that engines with the
same one can exchange caches in the canonical layout; the *engine fingerprint* adds how the numbers
lie in memory, so that engines with the same one can exchange whole blocks without looking inside.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from hashlib import blake2b

import orjson


@dataclass(frozen=True, slots=True)
class KvGeometry:
    """Shape of a model's KV cache, over all tensor-parallel ranks.

    Attributes:
        layers: attention layers.
        kv_heads: key/value heads of one layer.
        head_dim: components of one head.
    """

    layers: int
    kv_heads: int
    head_dim: int

    def canonical_shape(self, tokens: int) -> tuple[int, int, int, int, int]:
        """Returns `[layers, 2, kv_heads, tokens, head_dim]`."""
        return self.layers, 2, self.kv_heads, tokens, self.head_dim


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """What the numbers of a KV cache depend on, beside the tokens, the adapter and the salt.

    Attributes:
        weights: digest of the model's configuration and weights.
        tokenizer: digest of the tokenizer and its chat template.
        kv_dtype: element type of the cache, such as `float32` or `bfloat16`.
        geometry: its shape.
    """

    weights: str
    tokenizer: str
    kv_dtype: str
    geometry: KvGeometry

    @property
    def digest(self) -> str:
        """Names the identity: 32 hex digits."""
        return _digest(asdict(self))


@dataclass(frozen=True, slots=True)
class EngineFingerprint:
    """Everything that gives the bytes of an engine's KV blocks their meaning.

    Attributes:
        model: what the numbers are.
        engine: name and minor version of the engine, such as `vllm-0.32`.
        device_layout: arrangement inside a block, by back-end and instruction set: `cpu-vec`.
        block_tokens: tokens of one block.
        tensor_parallel: ranks that the heads are divided among.
    """

    model: ModelIdentity
    engine: str
    device_layout: str
    block_tokens: int
    tensor_parallel: int = 1

    @property
    def digest(self) -> str:
        """Names the fingerprint: 32 hex digits."""
        return _digest(asdict(self))


def _digest(value: dict[str, object]) -> str:
    canonical = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return blake2b(canonical, digest_size=16).hexdigest()
