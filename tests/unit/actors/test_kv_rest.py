"""KV caches at rest: what goes wrong meanwhile leaves nothing behind, and what is used stays."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

pytest.importorskip("transformers")

from memos_ray.actors.activation import kv_rest
from memos_ray.actors.activation.kv_library import KvName
from memos_ray.core.activation import SourceVersion
from memos_ray.core.vault.log import Fence
from memos_ray.errors import MemosError, StoreError, UnavailableError
from memos_ray.testing.faults import Fault
from memos_ray.testing.waiting import eventually
from tests.unit.actors.test_kv_caches import PLACE, TEXT, Bench, bench, tokenizer

__all__ = ["bench", "tokenizer"]


def fail_next(bench: Bench, method: str, after: int = 0, error: MemosError | None = None) -> None:
    call = bench.store.calls[method] + 1 + after
    bench.plan.faults = [Fault(method, call, error or UnavailableError("the store is away"))]


def rows(bench: Bench) -> int:
    return len(bench.store.derivations(0, kv_rest.KIND))


@pytest.mark.parametrize(("method", "after"), [("heads", 1), ("save_derivation", 0)])
async def test_what_could_not_be_saved_is_not_listed(bench: Bench, method: str, after: int) -> None:
    fail_next(bench, method, after)
    name = bench.base(bench.inside)
    await bench.caches.build(name, TEXT)
    await eventually(lambda: bool(bench.store.struck))
    await bench.caches.close()
    assert (bench.rest.names, bench.rest.memory_bytes) == ([], 0)
    assert (bench.files, rows(bench)) == ([], 0)


async def test_a_file_that_could_not_be_written_leaves_no_row(bench: Bench) -> None:
    bench.away = 1
    await bench.caches.build(bench.base(bench.inside), TEXT)
    await eventually(lambda: bench.away == 0)
    await bench.caches.close()
    assert (bench.rest.names, bench.files, rows(bench)) == ([], [], 0)


async def test_nothing_goes_for_what_is_outdated_before_it_is_saved(bench: Bench) -> None:
    first, second = bench.base(bench.inside), bench.base(bench.learnt)
    size = (await bench.caches.build(first, TEXT)).size_bytes
    await bench.caches.close()
    bench.open(rest_bytes=size + size // 2)
    await eventually(lambda: bench.rest.names == [first])
    build = bench.model.build

    async def then_delete(*arguments: object, **more: object) -> object:
        built = await build(*arguments, **more)  # type: ignore[arg-type]
        # Its commit is in the store; this shard hears of it later.
        bench.deletion(bench.learnt)
        return built

    bench.model.build = then_delete  # type: ignore[method-assign, assignment]
    await bench.caches.build(second, TEXT)
    await bench.caches.close()
    assert bench.rest.names == [first] and len(bench.files) == 1


async def test_erasing_goes_on_when_the_blob_store_is_back(bench: Bench) -> None:
    sources = tuple(SourceVersion(one.id, 1) for one in (bench.inside, bench.learnt))
    for name in (bench.base(bench.inside), KvName(PLACE, "hashing", sources)):
        await bench.caches.build(name, TEXT)
    await eventually(lambda: len(bench.files) == 2)
    bench.away = 2
    bench.caches.apply(bench.deletion(bench.inside))
    await eventually(lambda: not bench.files and not rows(bench))


async def test_erasing_goes_on_when_the_blob_store_has_said_no(bench: Bench) -> None:
    bench.refusal = StoreError("the disk says no")
    first, second = bench.base(bench.inside), bench.base(bench.learnt)
    await bench.caches.build(first, TEXT)
    await eventually(lambda: len(bench.files) == 1)
    bench.away = 2
    bench.caches.apply(bench.deletion(bench.inside))
    await eventually(lambda: bench.away == 1)
    # Behind what fails there is room for others.
    bench.away = 0
    await bench.caches.build(second, TEXT)
    await eventually(lambda: bench.rest.names == [second] and len(bench.files) == 2)
    bench.away = 1
    await eventually(lambda: bench.away == 0)
    await eventually(lambda: len(bench.files) == rows(bench) == 1)
    assert bench.rest.names == [second]


async def test_what_was_laid_down_again_outlives_an_erasure_that_was_put_off(bench: Bench) -> None:
    first, second = bench.base(bench.inside), bench.base(bench.learnt)
    for name in (first, second):
        await bench.caches.build(name, TEXT)
    await eventually(lambda: len(bench.files) == 2)
    held = await bench.rest.fetch(first)
    assert held is not None
    bench.refusal, bench.away = StoreError("the disk says no"), 2
    bench.rest.let_go([first])
    bench.rest.let_go([second])
    await eventually(lambda: bench.away == 0)
    bench.rest.save(first, held, 1.0)
    # The other one is erased behind it.
    await eventually(lambda: len(bench.files) == rows(bench) == 1)
    assert bench.rest.names == [first]
    assert await bench.rest.fetch(first) is not None


async def test_taking_over_goes_on_when_a_store_has_said_no(bench: Bench) -> None:
    name = bench.base(bench.inside)
    await bench.caches.build(name, TEXT)
    await bench.caches.close()
    fail_next(bench, "derivations", error=StoreError("the disk says no"))
    bench.open()
    await eventually(lambda: bench.rest.names == [name])


async def test_a_file_that_comes_after_the_next_owner_goes_again(bench: Bench) -> None:
    fence = bench.store.fence

    def another(partition: int) -> Fence:
        return replace(fence(partition), epoch=99)

    bench.store.fence = another  # type: ignore[method-assign]
    await bench.caches.build(bench.base(bench.inside), TEXT)
    await eventually(lambda: not bench.rest.names and bench.store.calls["save_derivation"] == 1)
    await bench.caches.close()
    assert bench.files == []


async def test_a_blob_store_that_stays_away_does_not_hold_up_the_end(bench: Bench) -> None:
    await bench.caches.build(bench.base(bench.inside), TEXT)
    await eventually(lambda: len(bench.files) == 1)
    bench.away = 1000
    bench.caches.apply(bench.deletion(bench.inside))
    await asyncio.wait_for(bench.caches.close(), 60)
    assert rows(bench) == 1
    bench.away = 0
    bench.open()
    await eventually(lambda: not bench.files and not rows(bench))


async def test_taking_over_goes_on_when_the_store_is_back(bench: Bench) -> None:
    name = bench.base(bench.inside)
    await bench.caches.build(name, TEXT)
    await bench.caches.close()
    fail_next(bench, "derivations")
    bench.open()
    await eventually(lambda: bench.rest.names == [name])


async def test_what_is_hot_is_in_use_at_rest_as_well(bench: Bench) -> None:
    first, second, third = map(bench.base, (bench.inside, bench.learnt, bench.adapter))
    size = (await bench.caches.build(first, TEXT)).size_bytes
    await bench.caches.close()
    bench.open(rest_bytes=2 * size)
    await eventually(lambda: bench.rest.names == [first])
    for name in (first, second):
        bench.clock.advance(1.0)
        await bench.caches.build(name, TEXT)
    await eventually(lambda: len(bench.files) == 2)
    bench.clock.advance(1.0)
    assert await bench.caches.use(first, TEXT, keep=False)
    bench.clock.advance(1.0)
    await bench.caches.build(third, TEXT)
    await bench.caches.close()
    assert set(bench.rest.names) == {first, third}


async def test_a_pinned_one_stays_at_rest(bench: Bench) -> None:
    first, second = bench.base(bench.inside), bench.base(bench.learnt)
    size = (await bench.caches.build(first, TEXT)).size_bytes
    await bench.caches.close()
    bench.open(rest_bytes=size)
    await eventually(lambda: bench.rest.names == [first])
    assert await bench.caches.use(first, TEXT, keep=True) is not None
    await bench.caches.build(second, TEXT)
    await bench.caches.close()
    assert bench.rest.names == [first]


async def test_how_long_one_took_to_build_is_known_when_it_is_brought_back(bench: Bench) -> None:
    build = bench.model.build

    async def slowly(*arguments: object, **more: object) -> object:
        bench.clock.advance(600.0)
        return await build(*arguments, **more)  # type: ignore[arg-type]

    bench.model.build = slowly  # type: ignore[method-assign, assignment]
    name = bench.base(bench.inside)
    await bench.caches.build(name, TEXT)
    await bench.caches.close()
    bench.open()
    await eventually(lambda: bench.rest.names == [name])
    before = bench.library.estimate_s(100)
    await bench.caches.build(name, TEXT)
    assert bench.caches.counters["kv_loads"] == 1
    assert bench.library.estimate_s(100) > 10 * before
