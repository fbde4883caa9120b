"""KV caches of a shard: none of something that has changed, whatever happens at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("transformers")

from memos_ray.actors.activation.kv_caches import KvCaches
from memos_ray.actors.activation.kv_library import KvAdapter, KvLibrary, KvName
from memos_ray.actors.activation.kv_rest import KvRest
from memos_ray.actors.vault.residency import Place
from memos_ray.adapters.blobs import BlobStore
from memos_ray.core.activation import CacheState, SourceVersion
from memos_ray.core.cube.cube import MemCube, State
from memos_ray.core.scheduling.policies import Budget, CostBased, LeastRecentlyUsed
from memos_ray.core.vault.log import Commit
from memos_ray.errors import MemosError, UnavailableError, VersionConflictError
from memos_ray.serving.replica import ModelReplica
from memos_ray.serving.tokenizer import ModelTokenizer
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.cubes import make_cube, next_version
from memos_ray.testing.engines import HASHING_SHAPES, HashingEngine
from memos_ray.testing.faults import FaultPlan, FaultyRecordStore
from memos_ray.testing.in_process import LocalObjects
from memos_ray.testing.models import ReplicaModel
from memos_ray.testing.random_adapters import random_adapter
from memos_ray.testing.random_models import write_tokenizer
from memos_ray.testing.record_backends import Owner
from memos_ray.testing.record_store import MemoryRecordStore
from memos_ray.testing.waiting import eventually

TEXT = "Memories:\n" + "".join(f"- Rule {n} is kept.\n" for n in range(12))
PLACE = Place(0, "acme", "notes")
ADAPTER = random_adapter("hashing", HASHING_SHAPES, seed=1)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> ModelTokenizer:
    return ModelTokenizer(write_tokenizer(tmp_path_factory.mktemp("tokenizer")))


class Bench:
    """Caches of one partition, with a memory in the prompt, one that was learnt, and an adapter."""

    def __init__(self, folder: Path, tokenizer: ModelTokenizer, executor: ThreadPoolExecutor):
        self.folder = folder
        self.plan = FaultPlan()
        self.store = FaultyRecordStore(MemoryRecordStore(), self.plan)
        self.store.take(0, "shard-0", 1)
        self.owner = Owner(self.store, 0)
        self.inside, self.learnt, self.adapter = (make_cube(text) for text in "abc")
        self.owner.commit(self.inside, self.learnt, self.adapter)
        self.model = ReplicaModel(ModelReplica(HashingEngine(), tokenizer, 2048))
        self.clock = ManualClock()
        self.away = 0
        self.refusal: MemosError = UnavailableError("the blob store is away")
        self._blobs = BlobStore.local(folder)
        self._executor = executor
        self.open()

    def open(self, rest_bytes: int = 1 << 30) -> None:
        """Begins as the next owner does: with what is in the stores."""
        self.rest = KvRest(
            store=self.store,
            blobs=self._open_blobs,
            objects=LocalObjects(),
            executor=self._executor,
            budget_bytes=rest_bytes,
            policy=LeastRecentlyUsed(),
            clock=self.clock,
        )
        self.library = KvLibrary(Budget(1 << 30, 1 << 30), CostBased(), self.clock)
        self.caches = KvCaches(
            store=self.store,
            builder=self.model,
            library=self.library,
            rest=self.rest,
            clock=self.clock,
            executor=self._executor,
        )
        self.caches.open(0, 1)

    def _open_blobs(self) -> BlobStore:
        if self.away > 0:
            self.away -= 1
            raise self.refusal
        return self._blobs

    def base(self, cube: MemCube) -> KvName:
        """Names a cache of one memory, without an adapter."""
        return KvName(PLACE, "hashing", (SourceVersion(cube.id, 1),))

    @property
    def name(self) -> KvName:
        learnt = (SourceVersion(self.learnt.id, 1),)
        adapter = KvAdapter(self.adapter.id, ADAPTER.manifest.digest, learnt)
        return KvName(PLACE, "hashing", (SourceVersion(self.inside.id, 1),), adapter=adapter)

    @property
    def files(self) -> list[Path]:
        return [file for file in self.folder.glob("??/??/*") if file.is_file()]

    async def use(self) -> bool:
        """Asks for the cache as a prompt does, and has it built behind it."""
        return await self.caches.use(self.name, TEXT, keep=False, weights=ADAPTER) is not None

    def commits(self) -> list[Commit]:
        """Returns a change and a deletion of each, one after the other committed."""
        found = []
        for cube in (self.inside, self.learnt, self.adapter):
            changed = next_version(cube, text="changed")
            found.append(self.owner.commit(changed))
            found.append(self.owner.commit(next_version(changed, state=State.DELETED)))
        return found

    def deletion(self, cube: MemCube) -> Commit:
        return self.owner.commit(next_version(cube, state=State.DELETED))


@pytest.fixture
async def bench(tokenizer: ModelTokenizer, tmp_path: Path) -> AsyncIterator[Bench]:
    with ThreadPoolExecutor(1) as executor:
        made = Bench(tmp_path, tokenizer, executor)
        yield made
        await made.caches.close()


MEMORIES = ("inside", "learnt", "adapter")


async def test_it_is_built_behind_who_missed_it(bench: Bench) -> None:
    assert not await bench.use()
    await eventually(lambda: bench.caches.state(bench.name)[0] is CacheState.HOT)
    assert await bench.use() and bench.model.built == 1
    await eventually(lambda: len(bench.files) == 1)


@pytest.mark.parametrize("reopened", [False, True])
async def test_how_long_it_is_in_tokens_is_learnt(bench: Bench, reopened: bool) -> None:
    manifest = await bench.caches.build(bench.base(bench.inside), TEXT)
    if reopened:
        await bench.caches.close()
        bench.open()
        await eventually(lambda: bool(bench.rest.names))
        await bench.caches.build(bench.base(bench.inside), TEXT)
    assert bench.library.expected_tokens("hashing", TEXT) == manifest.tokens


@pytest.mark.parametrize("which", MEMORIES)
async def test_nothing_is_built_of_what_is_gone_already(bench: Bench, which: str) -> None:
    """As when the memories were read before a deletion, and the cache is asked for behind it."""
    bench.caches.apply(bench.deletion(getattr(bench, which)))
    assert not await bench.use()
    await eventually(lambda: bench.caches.state(bench.name)[0] is CacheState.FAILED)
    assert bench.caches.state(bench.name)[1] == VersionConflictError("x").code
    assert (bench.model.built, bench.caches.names) == (0, [])


@pytest.mark.parametrize("which", MEMORIES)
async def test_what_is_being_built_when_something_goes_is_not_kept(
    bench: Bench, which: str
) -> None:
    assert not await bench.use()
    assert bench.caches.names == [bench.name]
    bench.caches.apply(bench.deletion(getattr(bench, which)))
    assert bench.caches.names == []
    # Whatever was under way has its chance.
    await bench.caches.close()
    for _ in range(100):
        await asyncio.sleep(0)
    assert (bench.caches.names, bench.files) == ([], [])


@pytest.mark.parametrize("which", MEMORIES)
async def test_what_is_on_its_way_to_rest_when_something_goes_does_not_get_there(
    bench: Bench, which: str
) -> None:
    deleted = asyncio.Event()
    build = bench.model.build

    async def then_delete(*arguments: object, **more: object) -> object:
        built = await build(*arguments, **more)  # type: ignore[arg-type]

        def delete() -> None:
            # Behind the build: the cache is held, and the errand to write it has not begun.
            bench.caches.apply(bench.deletion(getattr(bench, which)))
            deleted.set()

        asyncio.get_running_loop().call_soon(delete)
        return built

    bench.model.build = then_delete  # type: ignore[method-assign, assignment]
    assert not await bench.use()
    await asyncio.wait_for(deleted.wait(), 60)
    await bench.caches.close()
    assert (bench.model.built, bench.caches.names, bench.files) == (1, [], [])


async def test_any_change_lets_go_of_it(bench: Bench) -> None:
    assert not await bench.use()
    await eventually(lambda: len(bench.files) == 1)
    others = bench.owner.commit(make_cube("another"))
    bench.caches.apply(others)
    assert bench.caches.names == [bench.name]
    before = bench.caches.names
    for commit in bench.commits():
        assert before[0].touches({"acme": {cube.id for cube in commit.cubes}})
        assert not before[0].touches({"other": {cube.id for cube in commit.cubes}})
    bench.caches.apply(commit)
    assert bench.caches.names == []
    await eventually(lambda: not bench.files)
