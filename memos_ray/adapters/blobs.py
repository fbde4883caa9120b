"""Content-addressed blobs behind `pyarrow.fs`: local disk, or an S3-compatible store.

A blob lies at `ab/cd/<digest>`. On local disk a put writes a temporary file, forces it to disk and
renames it, so that a blob is whole or absent whatever dies on the way; what a crash leaves behind
is a file under `tmp/`, swept at the next start.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any
from uuid import uuid4

from pyarrow import fs

from memos_ray.errors import (
    InvalidInputError,
    NotFoundError,
    StoreCorruptError,
    StoreError,
    StoreFullError,
    UnavailableError,
)

_DIGEST = re.compile(r"[0-9a-f]{64}")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class BlobStore:
    """Bytes by their digest. Implements `ports.BlobStorePort`.

    Concurrency: any number of threads and processes; a blob never changes once it is there.
    """

    def __init__(self, filesystem: Any, root: str, local: Path | None = None) -> None:
        """Takes a pyarrow file system and the folder, bucket or prefix to use in it."""
        self._files = filesystem
        self._root = root.rstrip("/")
        self._local = local

    @classmethod
    def local(cls, folder: Path | str) -> BlobStore:
        """Opens a folder on this machine, made when absent.

        Raises:
            StoreError: the folder cannot be used.
        """
        root = Path(folder).absolute()
        with _translated(""):
            (root / "tmp").mkdir(mode=0o700, parents=True, exist_ok=True)
            for left_over in (root / "tmp").iterdir():
                left_over.unlink(missing_ok=True)
        return cls(fs.LocalFileSystem(), str(root), root)

    @classmethod
    def from_uri(cls, uri: str) -> BlobStore:
        """Opens `s3://bucket/prefix?endpoint_override=…&scheme=…`.

        Credentials come from the AWS SDK's own environment or files, never from the URI's log form.

        Raises:
            InvalidInputError: the URI is not understood.
        """
        try:
            filesystem, root = fs.FileSystem.from_uri(uri)
        except (ValueError, OSError) as error:
            raise InvalidInputError("the blob store's URI is not understood") from error
        return cls(filesystem, root)

    def put(self, data: bytes) -> str:
        """Stores bytes durably and returns their digest; see `BlobStorePort`."""
        digest = blake2b(data, digest_size=32).hexdigest()
        if self.size_bytes(digest) == len(data):
            return digest
        with _translated(digest):
            if self._local is not None:
                self._put_local(self._local, digest, data)
            else:
                with self._files.open_output_stream(self._path(digest)) as out:
                    out.write(data)
        return digest

    def get(self, digest: str) -> bytes:
        """Returns a blob, verified; see `BlobStorePort`."""
        with _translated(digest), self._files.open_input_stream(self._path(digest)) as stream:
            data: bytes = stream.read()
        if blake2b(data, digest_size=32).hexdigest() != digest:
            raise StoreCorruptError("a blob is not what its digest says", digest=digest)
        return data

    def size_bytes(self, digest: str) -> int | None:
        """Returns a blob's length; see `BlobStorePort`."""
        with _translated(digest):
            info = self._files.get_file_info(self._path(digest))
        return int(info.size) if info.type is fs.FileType.File else None

    def delete(self, digest: str) -> None:
        """Removes a blob; see `BlobStorePort`."""
        if self.size_bytes(digest) is None:
            return
        with _translated(digest):
            self._files.delete_file(self._path(digest))

    def digests(self) -> Iterator[str]:
        """Yields the digests of all blobs; see `BlobStorePort`."""
        with _translated(""):
            selector = fs.FileSelector(self._root, allow_not_found=True, recursive=True)
            found = self._files.get_file_info(selector)
        for info in found:
            if info.type is fs.FileType.File and _DIGEST.fullmatch(info.base_name):
                yield info.base_name

    def _put_local(self, folder: Path, digest: str, data: bytes) -> None:
        target = Path(self._path(digest))
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = folder / "tmp" / uuid4().hex
        try:
            with open(temporary, "xb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
        parent = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)

    def _path(self, digest: str) -> str:
        if not _DIGEST.fullmatch(digest):
            raise InvalidInputError("this is not a blob's digest")
        return f"{self._root}/{digest[:2]}/{digest[2:4]}/{digest}"


@contextmanager
def _translated(digest: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise NotFoundError("there is no such blob", digest=digest) from None
    except OSError as error:
        if error.errno in _FULL:
            raise StoreFullError("no space for the blob") from error
        if error.errno is None:
            raise UnavailableError("the blob store does not answer") from error
        raise StoreError("the blob store failed", reason=error.strerror) from error
