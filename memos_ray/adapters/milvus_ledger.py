"""What Milvus Lite has acknowledged: a small durable list beside the engine's own files.

The engine repairs itself silently: after a crash, a full disk or a missing file it opens with
fewer or older rows and says nothing. The ledger keeps the key and the stamp (number of the write)
of every acknowledged row, so that a shortfall shows when the engine opens.

Order of writes: an upsert goes to the engine first and then here; a deletion goes here first. After
a crash in between, rows with a stamp above the ledger's newest are accepted (they were on their
way), rows the ledger does not know are deleted, and a row that is missing or older than the ledger
says means that the engine has lost data.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

Inventory = Mapping[str, Sequence[tuple[str, int, int]]]
"""Live rows by collection: (key, partition, stamp)."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS held (
  collection TEXT NOT NULL, key TEXT NOT NULL, partition INTEGER NOT NULL, stamp INTEGER,
  PRIMARY KEY (collection, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS held_by_partition ON held (collection, partition);
CREATE TABLE IF NOT EXISTS known (
  collection TEXT NOT NULL, partition INTEGER NOT NULL, PRIMARY KEY (collection, partition)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS newest (one INTEGER PRIMARY KEY CHECK (one = 1), stamp INTEGER NOT NULL);
INSERT OR IGNORE INTO newest VALUES (1, 0);
"""


class LedgerError(Exception):
    """The ledger's file cannot be read or written.

    Attributes:
        damaged: whether its bytes make no sense, as opposed to a full disk.
    """

    def __init__(self, message: str, damaged: bool) -> None:
        super().__init__(message)
        self.damaged = damaged


@dataclass(frozen=True, slots=True)
class Findings:
    """How the rows of an engine differ from what it has acknowledged.

    Attributes:
        lost: acknowledged rows that are missing or older than they should be.
        strays: keys of rows that should not be there, by collection and partition.
    """

    lost: int = 0
    strays: dict[tuple[str, int], list[str]] = field(default_factory=dict)


class Ledger:
    """The list, in one SQLite file.

    Concurrency: safe from several threads of one process; the owner of the engine's folder is the
    only process.
    """

    def __init__(self, path: Path) -> None:
        """Opens or creates the file.

        Raises:
            LedgerError: when it cannot be opened.
        """
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None
        with self._translated():
            self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._database.execute("PRAGMA journal_mode = WAL")
            # An acknowledged row must not be forgotten in a power cut: the engine forgets it, too,
            # and then nobody would notice.
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.executescript(_SCHEMA)
            if self._database.execute("PRAGMA quick_check").fetchone() != ("ok",):
                raise LedgerError("the ledger's pages are damaged", damaged=True)
            (self._newest,) = self._database.execute("SELECT stamp FROM newest").fetchone()

    def next_stamp(self) -> int:
        """Returns the number for the next write."""
        with self._lock:
            self._newest += 1
            return int(self._newest)

    def record(self, collection: str, partition: int, keys: Iterable[str], stamp: int) -> None:
        """Notes rows that the engine has acknowledged."""
        rows = [(collection, key, partition, stamp) for key in keys]
        with self._transaction() as database:
            database.executemany("INSERT OR REPLACE INTO held VALUES (?, ?, ?, ?)", rows)
            database.execute("UPDATE newest SET stamp = max(stamp, ?)", (stamp,))

    def doubt(self, collection: str, partition: int, keys: Iterable[str], stamp: int) -> None:
        """Notes rows of a write that failed: they may be there in any state, or not."""
        rows = [(collection, key, partition) for key in keys]
        with self._transaction() as database:
            database.executemany("INSERT OR REPLACE INTO held VALUES (?, ?, ?, NULL)", rows)
            database.execute("UPDATE newest SET stamp = max(stamp, ?)", (stamp,))

    def forget(self, collection: str, keys: Iterable[str]) -> None:
        """Notes rows that are about to be deleted."""
        with self._transaction() as database:
            database.executemany(
                "DELETE FROM held WHERE collection = ? AND key = ?",
                [(collection, key) for key in keys],
            )

    def forget_partition(self, collection: str, partition: int) -> None:
        """Notes that all rows of a partition are about to be deleted."""
        with self._transaction() as database:
            database.execute(
                "DELETE FROM held WHERE collection = ? AND partition = ?", (collection, partition)
            )

    def mark_known(self, collection: str, partition: int) -> None:
        """Notes that a partition was emptied on purpose and is complete from there on."""
        with self._transaction() as database:
            database.execute("INSERT OR IGNORE INTO known VALUES (?, ?)", (collection, partition))

    def is_known(self, collection: str, partition: int) -> bool:
        """Tells whether `mark_known` was called for a partition."""
        with self._lock, self._translated():
            found = self._open().execute(
                "SELECT 1 FROM known WHERE collection = ? AND partition = ?",
                (collection, partition),
            )
            return found.fetchone() is not None

    def compare(self, inventory: Inventory) -> Findings:
        """Compares with the rows of an engine that has just opened; adopts what was on its way."""
        with self._lock, self._translated():
            database = self._open()
            (newest,) = database.execute("SELECT stamp FROM newest").fetchone()
            names = {name for (name,) in database.execute("SELECT DISTINCT collection FROM held")}
            lost = 0
            strays: dict[tuple[str, int], list[str]] = {}
            adopted: list[tuple[str, str, int, int]] = []
            gone: list[tuple[str, str]] = []
            for name in names | set(inventory):
                found = {key: (home, mark) for key, home, mark in inventory.get(name, ())}
                for key, stamp in database.execute(
                    "SELECT key, stamp FROM held WHERE collection = ?", (name,)
                ):
                    partition, actual = found.pop(key, (0, None))
                    if actual is not None and (stamp is None or actual > newest):
                        adopted.append((name, key, partition, actual))
                    elif actual is None and stamp is None:
                        gone.append((name, key))
                    elif actual != stamp:
                        lost += 1
                for key, (partition, actual) in found.items():
                    if actual > newest:
                        adopted.append((name, key, partition, actual))
                    else:
                        strays.setdefault((name, partition), []).append(key)
        if not lost:
            self._settle(adopted, gone)
        return Findings(lost, strays)

    def close(self) -> None:
        """Closes the file; safe to call twice."""
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None

    def _settle(
        self, adopted: list[tuple[str, str, int, int]], gone: list[tuple[str, str]]
    ) -> None:
        if not adopted and not gone:
            return
        newest = max((stamp for *_, stamp in adopted), default=0)
        with self._transaction() as database:
            database.executemany("INSERT OR REPLACE INTO held VALUES (?, ?, ?, ?)", adopted)
            database.executemany("DELETE FROM held WHERE collection = ? AND key = ?", gone)
            database.execute("UPDATE newest SET stamp = max(stamp, ?)", (newest,))
        with self._lock:
            self._newest = max(self._newest, newest)

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            raise LedgerError("the ledger is closed", damaged=False)
        return self._database

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._translated():
            database = self._open()
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    database.execute("ROLLBACK")
                raise

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(
                error, sqlite3.OperationalError
            )
            raise LedgerError(f"{type(error).__name__}: {error}", damaged) from error
