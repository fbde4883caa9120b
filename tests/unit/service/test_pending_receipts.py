"""GOV-9: receipts that are pending are completed by the owner that has begun them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from memos_ray.actors.vault.receipt_rows import KIND, WAITING
from memos_ray.config import LifecycleSettings, VaultSettings
from memos_ray.errors import UnavailableError
from memos_ray.gateway.memories.models import NewMemory
from memos_ray.gateway.records.receipt_models import ErasureReceipt
from memos_ray.ports import Derivation
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.in_process import InProcess, in_process
from memos_ray.testing.record_store import MemoryRecordStore
from memos_ray.testing.waiting import eventually

ONE = VaultSettings(partitions=1)
DAY_S = 86_400.0
RETENTION = LifecycleSettings(enabled=False, deleted_s=7 * DAY_S)
_PATIENCE_S = 1.0


async def shown(memos: InProcess, id: str) -> ErasureReceipt:
    return await memos.doorway.receipts.receipt(memos.administrator, id)


async def completed(memos: InProcess, id: str) -> ErasureReceipt:
    async with asyncio.timeout(60):
        while (found := await shown(memos, id)).state != "done":  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return found


async def test_GOV_9_a_receipt_of_a_sweep_outlives_a_new_erasure_of_its_first_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    async with in_process(tmp_path, settings=ONE, clock=clock, lifecycle=RETENTION) as memos:
        me, service = memos.administrator, memos.service
        await service.add(me, [NewMemory(text=f"the walrus, {id}", id=id) for id in ("a", "b")])
        for id in ("a", "b"):
            await service.delete(me, id)
        clock.advance(8 * DAY_S)

        asked = []

        async def away(tenant: str, digest: str) -> bytes:
            asked.append(digest)
            raise UnavailableError("the authority is away")

        with monkeypatch.context() as cut_off:
            cut_off.setattr(memos.governance, "attest", away)
            swept = await memos.doorway.lifecycle.sweep(me)
            assert swept.moves == {"collect/retention": 2}
            assert (await shown(memos, "b")).state == "pending"
            await service.add(me, [NewMemory(text="the heron", id="a")])
            await service.delete(me, "a", hard=True)
            # A look that was under way, and one that has begun since.
            seen = len(asked)
            await eventually(lambda: len(asked) >= seen + 2)
        receipt = await completed(memos, "b")
        assert receipt.verified() and receipt.ids == ["a", "b"]
        assert (await completed(memos, "a")).ids == []


class Slow(MemoryRecordStore):
    """Writes a receipt that waits only when the last word is there, or is not to be expected."""

    def __init__(self) -> None:
        super().__init__()
        self.last_word, self.first = threading.Event(), threading.Event()

    def save_derivation(self, partition: int, epoch: int, row: Derivation) -> None:
        """See `RecordStorePort.save_derivation`."""
        if row.kind == WAITING:
            self.last_word.wait(_PATIENCE_S)
        super().save_derivation(partition, epoch, row)
        if row.kind == WAITING:
            self.first.set()

    def forget_derivations(
        self, partition: int, epoch: int, tenant: str, kind: str, names: Sequence[str]
    ) -> None:
        """See `RecordStorePort.forget_derivations`."""
        super().forget_derivations(partition, epoch, tenant, kind, names)
        if kind == WAITING:
            self.last_word.set()


async def test_GOV_9_what_a_receipt_was_at_first_is_not_written_behind_its_last_word(
    tmp_path: Path,
) -> None:
    store = Slow()
    async with in_process(tmp_path, settings=ONE, store=store) as memos:
        me = memos.administrator
        await memos.service.add(me, [NewMemory(text="the walrus", id="a")])
        await memos.service.delete(me, "a", hard=True)
        await completed(memos, "a")
        await eventually(store.first.is_set)
        assert [row.name for row in store.derivations(0, KIND)] == ["a"]
        assert store.derivations(0, WAITING) == []
