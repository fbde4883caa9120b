"""What lies at hand for an engine: verified once, within a budget, never taken away in use."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from memos_ray.core.activation import (
    EngineFingerprint,
    KvGeometry,
    KvLayout,
    KvPayload,
    ModelIdentity,
    Refusal,
)
from memos_ray.serving.kv.desk import Desk, LocalDesk, SharedDesk
from memos_ray.serving.kv.shelf import KvShelf

GEOMETRY = KvGeometry(layers=2, kv_heads=2, head_dim=32)
ENGINE = EngineFingerprint(ModelIdentity("w", "t", "float32", GEOMETRY), "vllm-0.32", "cpu-vec", 32)
TOKENS = 64
SIZE = 2 * 2 * 2 * 32 * TOKENS * 4


def payload(seed: int, engine: EngineFingerprint = ENGINE) -> KvPayload:
    ranks = engine.tensor_parallel
    numbers = np.random.default_rng(seed).integers(0, 256, (ranks, SIZE // ranks), np.uint8)
    return KvPayload.seal(
        list(numbers),
        key=f"{seed:032x}",
        tokens=TOKENS,
        model=engine.model.digest,
        engine=engine.digest,
        layout=KvLayout.OPAQUE,
    )


@pytest.fixture(params=["local", "shared"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Desk:
    return LocalDesk() if request.param == "local" else SharedDesk(tmp_path / "desk")


def test_a_payload_lies_on_the_desk_while_it_is_used(desk: Desk) -> None:
    shelf = KvShelf(desk, ENGINE, 4, budget_bytes=0)
    one = payload(1)
    with shelf.using([one]) as [name], shelf.using([one]) as [again]:
        assert name == again == one.manifest.name
        laid = desk.look(name, 0)
        assert laid is not None and np.array_equal(laid, one.ranks[0])
        assert shelf.memory_bytes == SIZE
    assert (desk.look(one.manifest.name, 0), shelf.memory_bytes) == (None, 0)


def test_the_least_recently_used_goes_first(desk: Desk) -> None:
    shelf = KvShelf(desk, ENGINE, 4, budget_bytes=2 * SIZE)
    one, two, three = (payload(seed) for seed in (1, 2, 3))
    for each in (one, two, one, three):
        with shelf.using([each]):
            pass
    held = [each for each in (one, two, three) if desk.look(each.manifest.name, 0) is not None]
    assert held == [one, three]
    assert shelf.memory_bytes == 2 * SIZE


def test_it_is_laid_down_again_when_somebody_took_it_away(desk: Desk) -> None:
    shelf = KvShelf(desk, ENGINE, 4, budget_bytes=SIZE)
    one = payload(1)
    with shelf.using([one]) as [name]:
        assert not isinstance(name, Refusal)
    desk.clear(name)
    with shelf.using([one]):
        assert desk.look(name, 0) is not None
    assert shelf.memory_bytes == SIZE


def test_a_changed_byte_is_noticed(desk: Desk) -> None:
    shelf = KvShelf(desk, ENGINE, 4, budget_bytes=SIZE)
    one = payload(1)
    one.ranks[0][5] ^= 1
    with shelf.using([one]) as [name]:
        assert name is Refusal.DIGEST
    assert shelf.memory_bytes == 0


def test_what_lies_there_does_not_excuse_a_manifest_that_lies(desk: Desk) -> None:
    shelf = KvShelf(desk, ENGINE, 4, budget_bytes=SIZE)
    one = payload(1)
    with shelf.using([one]):
        pass
    other = KvPayload(replace(one.manifest, model="other"), one.ranks)
    with shelf.using([other]) as [name]:
        assert name is Refusal.MODEL


def test_the_canonical_layout_is_divided_among_the_ranks(desk: Desk) -> None:
    parallel = replace(ENGINE, tensor_parallel=2)
    source = payload(1, parallel)
    shelf = KvShelf(desk, parallel, 4, budget_bytes=SIZE)
    codec = shelf.codec
    whole = codec.canonical(source.ranks, TOKENS)
    sealed = KvPayload.seal(
        [whole],
        key=source.manifest.key,
        tokens=TOKENS,
        model=ENGINE.model.digest,
        engine="another",
        layout=KvLayout.CANONICAL,
    )
    with shelf.using([sealed]) as [name]:
        assert not isinstance(name, Refusal)
        for rank in range(2):
            laid = desk.look(name, rank)
            assert laid is not None and np.array_equal(laid, source.ranks[rank])


def test_blocks_that_nobody_has_looked_into_are_not_translated(desk: Desk) -> None:
    unknown = replace(ENGINE, device_layout="cpu-amx")
    shelf = KvShelf(desk, unknown, 4, budget_bytes=SIZE)
    with shelf.using([payload(1, unknown)]) as [name]:
        assert not isinstance(name, Refusal)
    canonical = payload(2, unknown)
    anywhere = KvPayload(replace(canonical.manifest, layout=KvLayout.CANONICAL), canonical.ranks)
    with shelf.using([anywhere]) as [name]:
        assert name is Refusal.ENGINE
