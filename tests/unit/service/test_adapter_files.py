"""Files of adapters: each is of one adapter alone, and none is left without a row."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("transformers")

from memos_ray.actors.parameter.adapter_files import AdapterFiles
from memos_ray.actors.parameter.adapter_rows import Adapter
from memos_ray.actors.vault.residency import Place
from memos_ray.adapters.blobs import BlobStore
from memos_ray.core.activation import SourceVersion
from memos_ray.core.parameter import AdapterPayload, TeachingState, at_rest, weights_of
from memos_ray.errors import InvalidInputError, NotOwnerError, StoreError
from memos_ray.testing.engines import HASHING_SHAPES
from memos_ray.testing.in_process import LocalObjects
from memos_ray.testing.random_adapters import random_adapter
from memos_ray.testing.record_store import MemoryRecordStore
from memos_ray.testing.waiting import eventually

PAYLOAD = random_adapter("hashing", HASHING_SHAPES, seed=1)


class SlowBlobs(BlobStore):
    """Lets files in one by one, when told."""

    def open(self) -> SlowBlobs:
        self.waiting = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self.fail: StoreError | None = None
        return self

    def put(self, data: bytes) -> str:
        self.waiting.set()
        self.go_on.wait()
        if self.fail is not None:
            raise self.fail
        return super().put(data)


def adapter(name: str, partition: int = 0, tenant: str = "acme") -> Adapter:
    manifest = PAYLOAD.manifest
    return Adapter(
        id=name,
        place=Place(partition, tenant, "user:ann"),
        model="hashing",
        digest=manifest.digest,
        base=manifest.base,
        rank=manifest.rank,
        alpha=manifest.alpha,
        blob="",
        size_bytes=manifest.size_bytes,
        state=TeachingState.LIVE,
        sources=(SourceVersion("one", 1),),
        report="",
        figures={},
    )


class Bench:
    """A shard's hold of two partitions, and the store and folder behind it."""

    def __init__(self, folder: Path) -> None:
        self.store = MemoryRecordStore()
        self.blobs = SlowBlobs.local(folder).open()  # type: ignore[attr-defined]
        self.pool = ThreadPoolExecutor(4)
        self.files = self.hold("shard-0", 1)

    def hold(self, name: str, epoch: int) -> AdapterFiles:
        files = AdapterFiles(
            store=self.store,
            blobs=lambda: self.blobs,
            objects=LocalObjects(),
            executor=self.pool,
            replicas=None,
        )
        for partition in (0, 1):
            self.store.take(partition, name, epoch)
            files.open(partition, epoch)
        return files

    @property
    def rows(self) -> list[str]:
        return [row.name for one in (0, 1) for row in self.store.derivations(one, "adapter")]

    @property
    def digests(self) -> list[str]:
        return list(self.blobs.digests())

    def close(self) -> None:
        self.blobs.go_on.set()
        self.pool.shutdown()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def unshared(adapter: Adapter) -> bool:
    return False


@pytest.mark.parametrize("other", [adapter("two", 1), adapter("two"), adapter("two", 0, "other")])
async def test_the_same_weights_twice_are_two_files(bench: Bench, other: Adapter) -> None:
    first = await bench.files.save(adapter("one"), PAYLOAD, unshared)
    second = await bench.files.save(other, PAYLOAD, unshared)
    assert len(bench.digests) == 2
    bench.files.retire(first, shared=unshared)
    await bench.files.retired("one")
    assert (bench.digests, bench.rows) == ([second.blob], ["two"])
    payload = await bench.files.load(second)
    assert isinstance(payload, AdapterPayload) and payload.manifest == PAYLOAD.manifest


async def test_weights_that_others_have_as_well_leave_their_own_file(bench: Bench) -> None:
    first = await bench.files.save(adapter("one"), PAYLOAD, unshared)
    bench.files.retire(first, shared=lambda adapter: True)
    await bench.files.retired("one")
    assert (bench.digests, bench.rows) == ([], [])


async def test_who_stops_waiting_leaves_nothing(bench: Bench) -> None:
    bench.blobs.go_on.clear()
    saving = asyncio.create_task(bench.files.save(adapter("one"), PAYLOAD, unshared))
    await eventually(bench.blobs.waiting.is_set)
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    assert bench.rows == ["one"], "as long as somebody writes"
    bench.blobs.go_on.set()
    await bench.files.retired("one")
    assert (bench.digests, bench.rows) == ([], [])


async def test_a_file_that_cannot_be_written_leaves_no_row(bench: Bench) -> None:
    bench.blobs.fail = StoreError("the disk is gone")
    with pytest.raises(StoreError):
        await bench.files.save(adapter("one"), PAYLOAD, unshared)
    await bench.files.retired("one")
    assert (bench.digests, bench.rows) == ([], [])


async def test_a_file_that_comes_after_the_next_owner_goes_again(bench: Bench) -> None:
    bench.blobs.go_on.clear()
    saving = asyncio.create_task(bench.files.save(adapter("one"), PAYLOAD, unshared))
    await eventually(bench.blobs.waiting.is_set)
    successor = bench.hold("shard-1", 2)
    (left,) = await successor.rows(0)
    successor.retire(left, shared=unshared)
    await successor.retired("one")
    assert bench.rows == []
    bench.blobs.go_on.set()
    own = await successor.save(adapter("one"), PAYLOAD, unshared)
    with pytest.raises(NotOwnerError):
        await saving
    await bench.files.retired("one")
    assert (bench.digests, bench.rows) == ([own.blob], ["one"])


def test_what_is_laid_down_is_what_comes_back() -> None:
    data = at_rest(PAYLOAD, "one", 1)
    assert np.array_equal(weights_of(data), PAYLOAD.data)
    assert len({at_rest(PAYLOAD, *about) for about in (("one", 1), ("one", 2), ("two", 1))}) == 3
    assert np.array_equal(weights_of(PAYLOAD.data.tobytes()), PAYLOAD.data)
    padded = int.from_bytes(PAYLOAD.data[:8].tobytes(), "little") + 8
    other = padded.to_bytes(8, "little") + PAYLOAD.data[8:padded].tobytes() + b" " * 8
    strange = np.frombuffer(other + PAYLOAD.data[padded:].tobytes(), np.uint8)
    sealed = AdapterPayload.seal(strange, base="hashing", rank=4, alpha=8.0)
    with pytest.raises(InvalidInputError):
        at_rest(sealed, "one", 1)
