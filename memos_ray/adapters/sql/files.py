"""The SQLite files of a folder, each with a mark beside it that says that it has been made.

SQLite takes a file that is gone, or empty, for a new database. Without the mark a partition whose
file was lost would start over, empty and without a word.
"""

from __future__ import annotations

import os
from pathlib import Path

from memos_ray.adapters.sql import revisions
from memos_ray.adapters.sql.engine import Database, open_file
from memos_ray.errors import StoreCorruptError, StoreError


def open_home(folder: Path, home: str) -> Database:
    """Opens `<folder>/<home>.sqlite` with the current schema; makes it when it never was.

    Raises:
        StoreCorruptError: the file was made once and is gone or empty, or is damaged.
        StoreVersionError: a newer version of this software, or another program, wrote it.
        StoreFullError: no space to create or migrate it.
        StoreError: it cannot be opened.
    """
    file, mark = folder / f"{home}.sqlite", folder / f"{home}.made"
    if mark.exists() and not (file.exists() and file.stat().st_size):
        raise StoreCorruptError(
            "the store's file is lost: restore it from a backup, or remove the mark to begin anew",
            store=str(file),
            mark=str(mark),
        )
    database = revisions.prepare(open_file(file), home)
    if not mark.exists():
        try:
            _leave(mark)
        except OSError as error:
            database.close()
            raise StoreError("the store's file cannot be marked", store=str(file)) from error
    return database


def _leave(mark: Path) -> None:
    """Creates the mark; it is durable before anything in the file can be acknowledged."""
    os.close(os.open(mark, os.O_CREAT | os.O_WRONLY, 0o600))
    home = os.open(mark.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(home)
    finally:
        os.close(home)
