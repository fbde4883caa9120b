"""Brings the content of archived versions back when they are read."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable

from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.payload import ArchivedRef
from memos_ray.core.lifecycle.archive import bodies, filled, reference_in, refilled
from memos_ray.errors import MemosError, StoreCorruptError
from memos_ray.ports import BlobStorePort

_log = logging.getLogger(__name__)
_FILES = 8


class ArchivedContents:
    """Reads archive files through a small cache. Implements `ports.ContentsPort`.

    Concurrency: any number of threads. Memory: at most eight files, of 8 MiB of text each.
    """

    def __init__(self, blobs: Callable[[], BlobStorePort]) -> None:
        """Takes what opens the blob store at its first call."""
        self._blobs = blobs
        self._lock = threading.Lock()
        self._files: OrderedDict[str, list[bytes]] = OrderedDict()

    def fill(self, cube: MemCube) -> MemCube:
        """Returns a version with its content; without it when that cannot be had now."""
        reference = cube.payload
        if not isinstance(reference, ArchivedRef):
            return cube
        try:
            return filled(cube, self._row(reference.blob, reference.row))
        except MemosError as error:
            _log.warning("an archived memory cannot be read: %s", error.code)
            return cube

    def fill_body(self, body: bytes) -> bytes:
        """Does the same to a version as it rests."""
        reference = reference_in(body)
        if reference is None:
            return body
        try:
            return refilled(body, self._row(*reference))
        except MemosError as error:
            _log.warning("an archived memory cannot be read: %s", error.code)
            return body

    def _row(self, blob: str, row: int) -> bytes:
        held = self._file(blob)
        if row >= len(held):
            raise StoreCorruptError("an archive file is too short", digest=blob)
        return held[row]

    def _file(self, digest: str) -> list[bytes]:
        with self._lock:
            if digest in self._files:
                self._files.move_to_end(digest)
                return self._files[digest]
        found = bodies(self._blobs().get(digest))
        with self._lock:
            self._files[digest] = found
            while len(self._files) > _FILES:
                self._files.popitem(last=False)
        return found
