"""A KV cache in hand: its manifest and its bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from memos_ray.core.activation.engine import EngineFingerprint
from memos_ray.core.activation.keys import KvScope, PrefixChain
from memos_ray.core.activation.manifest import KvLayout, KvManifest, SourceVersion

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class KvPayload:
    """A manifest with each rank's bytes: flat uint8 arrays, possibly read-only."""

    manifest: KvManifest
    ranks: tuple[Bytes, ...]

    @staticmethod
    def seal(
        ranks: Sequence[Bytes],
        *,
        key: str,
        tokens: int,
        model: str,
        engine: str,
        layout: KvLayout,
        sources: tuple[SourceVersion, ...] = (),
        start: int = 0,
        links: str = "",
        adapter: str = "",
    ) -> KvPayload:
        """Makes a payload of bytes, with their digests."""
        manifest = KvManifest(
            key=key,
            tokens=tokens,
            model=model,
            engine=engine,
            layout=layout,
            ranks=tuple(digest_of(rank) for rank in ranks),
            rank_bytes=ranks[0].size,
            sources=sources,
            start=start,
            links=links,
            adapter=adapter,
        )
        return KvPayload(manifest, tuple(ranks))

    @staticmethod
    def exported(
        ranks: Sequence[Bytes],
        tokens: Sequence[int],
        engine: EngineFingerprint,
        *,
        salt: str,
        adapter: str = "",
        sources: tuple[SourceVersion, ...] = (),
        start: int = 0,
    ) -> KvPayload:
        """Makes a payload of an engine's own blocks.

        Args:
            tokens: the whole prefix, in whole blocks.
            start: how many of them the bytes leave out.
        """
        model = engine.model.digest
        chain = PrefixChain(KvScope(model, salt, adapter), tokens)
        key = chain.key(len(tokens))
        assert key is not None
        return KvPayload.seal(
            ranks,
            key=key,
            tokens=len(tokens),
            model=model,
            engine=engine.digest,
            layout=KvLayout.OPAQUE,
            sources=sources,
            start=start,
            links=chain.links(start, len(tokens)),
            adapter=adapter,
        )

    def intact(self) -> bool:
        """Tells whether the bytes are those that the manifest speaks of; 3 GB/s."""
        return len(self.ranks) == len(self.manifest.ranks) and all(
            rank.size == self.manifest.rank_bytes and digest_of(rank) == wanted
            for rank, wanted in zip(self.ranks, self.manifest.ranks, strict=True)
        )


def digest_of(payload: Bytes) -> str:
    """Returns the blake3 digest of bytes, 64 hex digits."""
    return blake3(payload.data, max_threads=blake3.AUTO).hexdigest()
