"""Fingerprints: equal on every machine and in every version, for they are stored."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memos_ray.core.cube.fingerprint import simhash


def counted(tokens: Sequence[str]) -> str:
    """SimHash by its definition: a bit is set where more than half of the tokens have it."""
    hashes = [int.from_bytes(blake2b(one.encode(), digest_size=8).digest()) for one in tokens]
    bits = [sum(one >> bit & 1 for one in hashes) for bit in range(64)]
    return f"{sum(1 << bit for bit in range(64) if 2 * bits[bit] > len(tokens)):016x}"


@given(st.lists(st.text("abcxyz019", min_size=1, max_size=4), max_size=40))
def test_CUBE_5_each_bit_is_what_most_tokens_have(tokens: list[str]) -> None:
    assert simhash("  ".join(tokens)) == counted(tokens)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Tea at 4, TEA_time!", ["tea", "at", "4", "tea", "time"]),
        ("don't", ["don", "t"]),
        ("Straße", ["strasse"]),
        ("\uff21\uff22 café", ["ab", "café"]),
        ("我喜欢茶", ["我喜", "喜欢", "欢茶"]),
        ("茶 and 水", ["茶", "and", "水"]),
        ("\t\n -- _", []),
        ("", []),
    ],
)
def test_CUBE_5_tokens_are_words_or_pairs_of_characters(text: str, tokens: list[str]) -> None:
    assert simhash(text) == counted(tokens)


def test_CUBE_5_many_tokens_are_counted_in_full() -> None:
    assert simhash("yes " * 40_000 + "no " * 39_999) == counted(["yes"])
    assert simhash("yes " * 40_000 + "no " * 40_000) == counted(["yes", "no"])


def test_CUBE_5_a_text_of_no_words_has_none() -> None:
    assert simhash("!") == "0" * 16
