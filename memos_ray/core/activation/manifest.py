"""What accompanies the bytes of a KV cache, and when an engine refuses them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b

from memos_ray.core.activation.engine import EngineFingerprint
from memos_ray.core.crossing import crossing


class KvLayout(StrEnum):
    """How the bytes are arranged."""

    CANONICAL = "canonical"
    """`[layers, 2, kv_heads, tokens, head_dim]`, readable by every engine of the model identity."""
    OPAQUE = "opaque"
    """`[layers, blocks, …]` as they lie in the engine, one array a rank, for its like only."""


@crossing
@dataclass(frozen=True, slots=True)
class SourceVersion:
    """A memory whose text is in the prefix, at the version that was there."""

    cube_id: str
    version: int


@crossing
@dataclass(frozen=True, slots=True)
class KvManifest:
    """What a KV cache says of itself.

    Its bytes hold the blocks of tokens [start, tokens) of a prefix: one that continues another
    need not repeat it.

    Attributes:
        key: of the whole prefix; see `PrefixChain`.
        tokens: length of the prefix.
        model: digest of the model identity.
        engine: digest of the fingerprint of the engine that built it.
        layout: arrangement of the bytes.
        ranks: blake3 hex digest of each rank's bytes, in rank order.
        rank_bytes: length of each rank's bytes.
        sources: the memories inside, in their order; any change of one ends the cache.
        start: how many tokens of the prefix the bytes leave out.
        links: keys of the prefixes that end inside, as `PrefixChain.links` gives them; without
            them the bytes serve only prompts with the whole prefix.
        adapter: content digest of the LoRA adapter that it was computed with; empty for the base.
            The key depends on it, too.
    """

    key: str
    tokens: int
    model: str
    engine: str
    layout: KvLayout
    ranks: tuple[str, ...]
    rank_bytes: int
    sources: tuple[SourceVersion, ...] = ()
    start: int = 0
    links: str = ""
    adapter: str = ""

    @property
    def held_tokens(self) -> int:
        """How many tokens the bytes hold."""
        return self.tokens - self.start

    @property
    def size_bytes(self) -> int:
        """Length of all ranks' bytes."""
        return self.rank_bytes * len(self.ranks)

    @property
    def name(self) -> str:
        """Names the bytes: 32 hex digits."""
        parts = (self.key, str(self.start), self.layout.value, *self.ranks)
        return blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()


class Refusal(StrEnum):
    """Why an engine does not load a KV cache; the prompt is then computed as text."""

    MODEL = "model"
    ADAPTER = "adapter"
    ENGINE = "engine"
    RANKS = "ranks"
    SIZE = "size"
    TOKENS = "tokens"
    KEY = "key"
    GAP = "gap"
    DIGEST = "digest"
    LOST = "lost"


def refusal(manifest: KvManifest, engine: EngineFingerprint, element_bytes: int) -> Refusal | None:
    """Says why an engine cannot hold a cache, or nothing; tokens and digests are checked apart.

    Args:
        element_bytes: size of one number of the cache.
    """
    geometry = engine.model.geometry
    if manifest.model != engine.model.digest:
        return Refusal.MODEL
    ranks = engine.tensor_parallel
    if manifest.layout is KvLayout.OPAQUE:
        if manifest.engine != engine.digest:
            return Refusal.ENGINE
    else:
        ranks = 1
    if len(manifest.ranks) != ranks:
        return Refusal.RANKS
    block = engine.block_tokens
    if not 0 <= manifest.start < manifest.tokens or manifest.start % block:
        return Refusal.TOKENS
    if manifest.tokens % block:
        return Refusal.TOKENS
    elements = 2 * geometry.layers * geometry.kv_heads * geometry.head_dim * manifest.held_tokens
    if manifest.rank_bytes != elements * element_bytes // ranks:
        return Refusal.SIZE
    return None
