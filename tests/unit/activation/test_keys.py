"""Keys of KV caches: the same for the same prefix in the same scope, and for nothing else."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from memos_ray.core.activation import (
    CHAIN_TOKENS,
    EngineFingerprint,
    KvGeometry,
    KvLayout,
    KvManifest,
    KvScope,
    ModelIdentity,
    PrefixChain,
    Refusal,
    refusal,
)

SCOPE = KvScope("model", "salt", "adapter")
tokens = st.lists(st.integers(0, 2**31), min_size=CHAIN_TOKENS, max_size=5 * CHAIN_TOKENS)


@given(tokens, st.integers(0, 2**31))
def test_a_prefix_has_one_key_whatever_follows(prompt: list[int], more: int) -> None:
    chain, longer = PrefixChain(SCOPE, prompt), PrefixChain(SCOPE, [*prompt, more])
    for length in range(CHAIN_TOKENS, len(prompt) + 1, CHAIN_TOKENS):
        assert chain.key(length) == longer.key(length) is not None


@given(tokens, st.data())
def test_one_changed_token_changes_every_key_from_there_on(
    prompt: list[int], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(prompt) - 1))
    changed = [*prompt[:place], prompt[place] ^ 1, *prompt[place + 1 :]]
    one, other = PrefixChain(SCOPE, prompt), PrefixChain(SCOPE, changed)
    for length in range(CHAIN_TOKENS, len(prompt) + 1, CHAIN_TOKENS):
        assert (one.key(length) == other.key(length)) == (length <= place)


def test_scopes_share_no_key() -> None:
    prompt = range(CHAIN_TOKENS)
    scopes = [
        SCOPE,
        replace(SCOPE, model="other"),
        replace(SCOPE, salt="other"),
        replace(SCOPE, adapter="other"),
        # The same letters, divided otherwise.
        KvScope("models", "alt", "adapter"),
        KvScope("model", "saltadapter", ""),
    ]
    assert len({PrefixChain(scope, list(prompt)).key(CHAIN_TOKENS) for scope in scopes}) == 6


def test_only_whole_links_have_keys() -> None:
    chain = PrefixChain(SCOPE, list(range(2 * CHAIN_TOKENS + 3)))
    assert chain.key(2 * CHAIN_TOKENS) is not None
    for length in (0, 1, CHAIN_TOKENS + 1, 3 * CHAIN_TOKENS, -CHAIN_TOKENS):
        assert chain.key(length) is None


GEOMETRY = KvGeometry(layers=2, kv_heads=4, head_dim=32)
ENGINE = EngineFingerprint(
    ModelIdentity("w", "t", "float32", GEOMETRY), "vllm-0.32", "cpu-vec", 32, tensor_parallel=2
)
FITTING = KvManifest(
    key="k",
    tokens=64,
    model=ENGINE.model.digest,
    engine=ENGINE.digest,
    layout=KvLayout.OPAQUE,
    ranks=("a", "b"),
    rank_bytes=2 * 2 * 2 * 32 * 64 * 4,
)


def test_what_fits_is_not_refused() -> None:
    assert refusal(FITTING, ENGINE, 4) is None
    portable = replace(
        FITTING,
        engine="another",
        layout=KvLayout.CANONICAL,
        ranks=("c",),
        rank_bytes=2 * FITTING.rank_bytes,
    )
    assert refusal(portable, ENGINE, 4) is None


def test_what_does_not_fit_is_refused() -> None:
    assert refusal(replace(FITTING, model="other"), ENGINE, 4) is Refusal.MODEL
    assert refusal(replace(FITTING, engine="other"), ENGINE, 4) is Refusal.ENGINE
    assert refusal(replace(FITTING, ranks=("a",)), ENGINE, 4) is Refusal.RANKS
    assert refusal(replace(FITTING, tokens=48), ENGINE, 4) is Refusal.TOKENS
    assert refusal(replace(FITTING, tokens=0), ENGINE, 4) is Refusal.TOKENS
    assert refusal(FITTING, ENGINE, 2) is Refusal.SIZE


def test_every_part_of_a_fingerprint_tells() -> None:
    changed = [
        ENGINE,
        replace(ENGINE, engine="vllm-0.33"),
        replace(ENGINE, device_layout="cpu-amx"),
        replace(ENGINE, block_tokens=16),
        replace(ENGINE, tensor_parallel=1),
        replace(ENGINE, model=replace(ENGINE.model, weights="other")),
        replace(ENGINE, model=replace(ENGINE.model, tokenizer="other")),
        replace(ENGINE, model=replace(ENGINE.model, kv_dtype="bfloat16")),
        replace(ENGINE, model=replace(ENGINE.model, geometry=replace(GEOMETRY, layers=3))),
    ]
    assert len({engine.digest for engine in changed}) == len(changed)
