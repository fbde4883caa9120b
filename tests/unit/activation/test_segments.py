"""Segments of a KV cache: used as far as keys prove them and no gap is between them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memos_ray.core.activation import (
    KvMatch,
    KvScope,
    KvSegment,
    PrefixChain,
    Refusal,
    match,
    refusals,
    run,
    whole_blocks,
)
from memos_ray.errors import InvalidInputError

BLOCK = 32
SCOPE = KvScope("model", "salt")
STORED = list(range(1000, 1000 + 10 * BLOCK))
CHAIN = PrefixChain(SCOPE, STORED)


def segment(start: int, end: int, *, links: bool = True) -> KvSegment:
    key = CHAIN.key(end)
    assert key is not None
    return KvSegment(f"{start}-{end}", key, start, end, CHAIN.links(start, end) if links else "")


@st.composite
def segments(draw: st.DrawFn) -> KvSegment:
    start = draw(st.integers(0, 9))
    end = draw(st.integers(start + 1, 10))
    return segment(BLOCK * start, BLOCK * end)


def test_a_cache_of_another_adapter_is_none() -> None:
    for mine, other in (("", "a"), ("a", ""), ("a", "b")):
        chain = PrefixChain(KvScope("model", "salt", mine), [*STORED, 7])
        key = chain.key(64)
        assert key is not None
        found = match(KvSegment("x", key, 0, 64, "", other), chain, len(STORED) + 1, BLOCK)
        assert (found.end, found.refused) == (0, Refusal.ADAPTER)
        own = match(KvSegment("x", key, 0, 64, "", mine), chain, len(STORED) + 1, BLOCK)
        assert (own.end, own.refused) == (64, None)


@given(st.lists(segments(), max_size=6), st.integers(0, 10), st.integers(1, 11 * BLOCK))
def test_a_run_reaches_as_far_as_the_blocks_at_hand_do(
    given: list[KvSegment], computed: int, length: int
) -> None:
    prompt = (STORED + [7] * BLOCK)[:length]
    chain = PrefixChain(SCOPE, prompt)
    matches = [match(one, chain, length, BLOCK) for one in given]
    held = {block for one in given for block in range(one.start // BLOCK, one.tokens // BLOCK)}
    reach = computed
    while reach in held and (reach + 1) * BLOCK < length:
        reach += 1
    pieces = run(matches, computed * BLOCK)
    end = computed * BLOCK
    for piece in pieces:
        assert piece.start == end < piece.end
        source = next(one for one in given if one.name == piece.name)
        assert source.start + piece.skip == piece.start and piece.end <= source.tokens
        end = piece.end
    assert end == reach * BLOCK
    # Nothing is missing without a reason.
    reasons = refusals(matches, end)
    behind = [one for one in given if one.start > end and one.start < (length - 1) // BLOCK * BLOCK]
    assert {start for start, why in reasons if why is Refusal.GAP} == {one.start for one in behind}


@given(segments(), st.integers(0, len(STORED) - 1), st.integers(2, 2 * len(STORED)))
def test_only_what_is_common_is_used(one: KvSegment, common: int, length: int) -> None:
    prompt = (STORED[:common] + [7] * 2 * len(STORED))[:length]
    chain = PrefixChain(SCOPE, prompt)
    found = match(one, chain, length, BLOCK)
    assert found.end % BLOCK == 0
    assert found.end == one.start or one.start < found.end <= min(common, one.tokens, length - 1)
    # One block more would be wrong, or too much.
    assert found.end + BLOCK > min(common, one.tokens, length - 1) or found.end == one.tokens
    foreign = match(one, PrefixChain(KvScope("model", "other"), prompt), length, BLOCK)
    assert (foreign.end, foreign.refused is None) == (one.start, False)


def test_without_links_it_is_used_whole_or_not_at_all() -> None:
    silent = segment(64, 256, links=False)
    for length, end in ((320, 256), (257, 256), (256, 224), (255, 64)):
        found = match(silent, PrefixChain(SCOPE, STORED[:length]), length, BLOCK)
        assert (found.end, found.refused) == (end, Refusal.KEY if end == 64 else None)


@pytest.mark.parametrize(
    ("start", "tokens"), [(-32, 64), (16, 64), (0, 48), (64, 64), (96, 64), (320, 352)]
)
def test_what_holds_no_block_of_the_prompt_is_refused(start: int, tokens: int) -> None:
    odd = KvSegment("odd", "0" * 32, start, tokens)
    found = match(odd, CHAIN, len(STORED), BLOCK)
    assert (found.end, found.refused) == (start, Refusal.TOKENS)


def test_refusals_come_in_the_order_of_the_prompt() -> None:
    matches = [
        KvMatch(segment(192, 256), 256),
        KvMatch(segment(64, 128), 64, Refusal.DIGEST),
        KvMatch(segment(0, 64), 64),
    ]
    assert refusals(matches, 64) == [(64, Refusal.DIGEST), (192, Refusal.GAP)]


def test_whole_blocks_behind_a_start() -> None:
    assert [whole_blocks(100, start, BLOCK) for start in (0, 32, 64)] == [96, 96, 96]
    for start in (96, 128, 16, -32):
        with pytest.raises(InvalidInputError):
            whole_blocks(100, start, BLOCK)
