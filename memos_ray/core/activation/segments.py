"""Which blocks of the KV caches at hand may stand in for computing the beginning of a prompt.

The cache of a conversation comes in segments, each with the blocks of tokens [start, tokens). The
key at a segment's end names everything before it, so one is as good as the text up to there,
whoever made it; together they serve as far as they follow on one another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from memos_ray.core.activation.keys import CHAIN_TOKENS, KEY_DIGITS, PrefixChain
from memos_ray.core.activation.manifest import KvManifest, Refusal
from memos_ray.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class KvSegment:
    """A KV cache at hand; all but its name is as its manifest says.

    Attributes:
        name: of its bytes.
    """

    name: str
    key: str
    start: int
    tokens: int
    links: str = ""
    adapter: str = ""

    @staticmethod
    def of(manifest: KvManifest) -> KvSegment:
        """Returns the segment that a manifest speaks of."""
        return KvSegment(
            manifest.name,
            manifest.key,
            manifest.start,
            manifest.tokens,
            manifest.links,
            manifest.adapter,
        )

    def key_at(self, tokens: int) -> str | None:
        """Returns the key of a prefix that ends inside, or nothing when it is not known."""
        if tokens == self.tokens:
            return self.key
        place = KEY_DIGITS * ((tokens - self.start) // CHAIN_TOKENS)
        return self.links[place - KEY_DIGITS : place] or None


@dataclass(frozen=True, slots=True)
class KvMatch:
    """How much of a segment a prompt bears out.

    Attributes:
        end: where in the prompt its use ends; at `segment.start` when it has none.
        refused: why it ends before the segment and the prompt do.
    """

    segment: KvSegment
    end: int
    refused: Refusal | None = None


@dataclass(frozen=True, slots=True)
class KvPiece:
    """Tokens [start, end) of a prompt, whose blocks lie in a segment behind `skip` other tokens."""

    name: str
    skip: int
    start: int
    end: int


def match(segment: KvSegment, chain: PrefixChain, prompt_tokens: int, block_tokens: int) -> KvMatch:
    """Says how much of a segment may be used for a prompt.

    That is up to the last block at whose end the keys agree: agreeing there, they agree before.

    Args:
        chain: of the prompt, in its scope.
        block_tokens: of the engine.
    """
    start, tokens = segment.start, segment.tokens
    if segment.adapter != chain.adapter:
        return KvMatch(segment, start, Refusal.ADAPTER)
    if not 0 <= start < tokens or start % block_tokens or tokens % block_tokens:
        return KvMatch(segment, start, Refusal.TOKENS)
    # At least one token must be computed, to have something to predict from.
    most = min(tokens, (prompt_tokens - 1) // block_tokens * block_tokens)
    if start >= most:
        return KvMatch(segment, start, Refusal.TOKENS)
    if chain.key(tokens) == segment.key:
        return KvMatch(segment, most)
    for end in range(most, start, -block_tokens):
        known = segment.key_at(end)
        if known is not None and known == chain.key(end):
            return KvMatch(segment, end, Refusal.KEY if end < most else None)
    return KvMatch(segment, start, Refusal.KEY)


def run(matches: Sequence[KvMatch], computed: int) -> tuple[KvPiece, ...]:
    """Returns the pieces that follow on what is computed already, without a gap."""
    pieces: list[KvPiece] = []
    end = computed
    for one in sorted(matches, key=lambda one: one.segment.start):
        start = one.segment.start
        if start <= end < one.end:
            pieces.append(KvPiece(one.segment.name, end - start, end, one.end))
            end = one.end
    return tuple(pieces)


def refusals(matches: Sequence[KvMatch], reached: int) -> list[tuple[int, Refusal]]:
    """Returns why segments are of no use, or not as far as the prompt goes, by where they begin.

    Args:
        reached: where the tokens end that are computed or will be loaded.
    """
    refused = [(one.segment.start, one.refused) for one in matches if one.refused is not None]
    behind = [one.segment.start for one in matches if reached < one.segment.start < one.end]
    return sorted(refused + [(start, Refusal.GAP) for start in behind])


def whole_blocks(tokens: int, start: int, block_tokens: int) -> int:
    """Returns where the last whole block of a text ends whose cache is asked for from `start`.

    Raises:
        InvalidInputError: `start` is not where a block begins, or no whole block is behind it.
    """
    end = tokens // block_tokens * block_tokens
    if start < 0 or start % block_tokens:
        raise InvalidInputError("no KV block begins there", start=start, block_tokens=block_tokens)
    if end <= start:
        raise InvalidInputError(
            "the text is shorter than a KV block",
            tokens=tokens,
            start=start,
            block_tokens=block_tokens,
        )
    return end
