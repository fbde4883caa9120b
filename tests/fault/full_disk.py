"""Fills the file system below a folder, and sees what the record store makes of that."""

from __future__ import annotations

import sys
from pathlib import Path

from memos_ray.adapters.sql.records import SqlRecordStore
from memos_ray.core.cube.predicate import Everything
from memos_ray.errors import StoreFullError
from memos_ray.ports import RecordStorePort
from memos_ray.testing.cubes import make_cube
from memos_ray.testing.record_backends import Owner


def count(records: RecordStorePort, partition: int) -> int:
    return len(records.scan(partition, "acme", "notes", Everything(), None, 1_000_000))


def main(folder: Path) -> None:
    records = SqlRecordStore.embedded(folder / "records")
    records.take(1, "shard-0", 1)
    owner = Owner(records, 1)
    ballast = folder / "ballast"
    ballast.write_bytes(bytes(2_000_000))
    secret = make_cube("to be erased", id="secret")
    owner.commit(secret)
    written = 1
    try:
        while True:
            owner.commit(make_cube("x" * 4_000), make_cube("y"))
            written += 2
    except StoreFullError as error:
        assert not error.retryable
    assert count(records, 1) == written
    assert records.last_lsn(1) == written
    try:
        records.take(2, "shard-0", 1)
    except StoreFullError:
        pass
    else:
        raise AssertionError("there was space for another file")
    ballast.unlink()
    owner.commit(make_cube("space again"), erased=[secret])
    assert count(records, 1) == written
    records.take(2, "shard-0", 1)
    assert records.check() == []
    records.close()
    again = SqlRecordStore.embedded(folder / "records")
    assert count(again, 1) == written
    again.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
