"""Content-addressed blobs behind `pyarrow.fs`: local disk, or an S3-compatible store.

A blob lies at `ab/cd/<digest>` and is whole or absent, whatever dies on the way:

- On local disk it is written to a file under `tmp/`, forced to disk, renamed, and the folders on
  its path are forced to disk. A crash leaves at most a file under `tmp/`, which the next start
  sweeps: a writer holds a lock on its file, so the files without one belong to nobody.
- On S3 an object appears when its upload is complete. The client completes an upload even when it
  is abandoned half-way, so nothing is uploaded before all of it is at hand; streams are spooled to
  a local temporary file first.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any
from urllib.parse import parse_qsl, unquote, urlsplit
from uuid import uuid4

import pyarrow
from pyarrow import fs

from memos_ray.errors import (
    ConfigurationError,
    InvalidInputError,
    NotFoundError,
    StoreCorruptError,
    StoreError,
    StoreFullError,
    UnavailableError,
)

CHUNK_BYTES = 1 << 20

_DIGEST = re.compile(r"[0-9a-f]{64}")
_FOLDER = re.compile(r"[0-9a-f]{2}")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_AWAY = frozenset(
    {errno.ECONNREFUSED, errno.EHOSTDOWN, errno.ENOTCONN, errno.ESTALE, errno.ETIMEDOUT}
)
_AWS_CODE = re.compile(r"AWS Error (\w+)")
_AWS_FULL = re.compile(r"QUOTA|StorageFull|InsufficientStorage|\b507\b", re.IGNORECASE)
_AWS_REFUSALS = frozenset(
    {
        "ACCESS_DENIED",
        "INVALID_ACCESS_KEY_ID",
        "INVALID_SIGNATURE",
        "MISSING_AUTHENTICATION_TOKEN",
        "NO_SUCH_BUCKET",
        "SIGNATURE_DOES_NOT_MATCH",
        "UNRECOGNIZED_CLIENT",
    }
)
_S3_OPTIONS = frozenset({"endpoint_override", "region", "scheme"})
_SOURCES = frozenset({"access_key", "secret_key", "session_token"})


@dataclass(frozen=True, slots=True)
class S3Settings:
    """How to talk to an S3-compatible store.

    Attributes:
        access_key: credentials; those of the AWS SDK's environment, files or instance when empty.
        connect_s: longest wait for a connection.
        request_s: longest silence during a request.
        attempts: tries of one request before it fails.
    """

    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    connect_s: float = 3.0
    request_s: float = 30.0
    attempts: int = 3


class BlobStore:
    """Bytes by their digest; implements `BlobStorePort`.

    Concurrency: any number of threads and processes; a blob never changes once it is there.
    """

    def __init__(self, filesystem: Any, root: str, local: Path | None = None) -> None:
        """Takes a pyarrow file system and the folder, bucket or prefix to use in it.

        Args:
            local: the same folder when it lies on this machine's disk.
        """
        self._files = filesystem
        self._root = root.rstrip("/")
        self._local = local

    @classmethod
    def local(cls, folder: Path | str) -> BlobStore:
        """Opens a folder on this machine, made when absent, and sweeps what crashes left in it.

        Raises:
            StoreError: when the folder cannot be used.
        """
        root = Path(folder).absolute()
        with _translated():
            (root / "tmp").mkdir(mode=0o700, parents=True, exist_ok=True)
            _sweep(root / "tmp")
        return cls(fs.LocalFileSystem(), str(root), root)

    @classmethod
    def from_uri(cls, uri: str, settings: S3Settings | None = None) -> BlobStore:
        """Opens `s3://bucket/prefix?endpoint_override=…&scheme=…&region=…` or `file:///folder`.

        Nothing is sent: a store that is away is noticed by the first call.

        Raises:
            ConfigurationError: when the URI is not understood, or carries credentials: they
                belong in `settings` or the environment, because URIs get logged.
        """
        parts = urlsplit(uri)
        if parts.scheme == "file" and parts.netloc in ("", "localhost"):
            return cls.local(unquote(parts.path))
        options = dict(parse_qsl(parts.query))
        if parts.username is not None or _SOURCES & options.keys():
            raise ConfigurationError("the blob store's URI must not carry credentials")
        if parts.scheme != "s3" or not parts.hostname or options.keys() - _S3_OPTIONS:
            raise ConfigurationError(
                "the blob store's URI is not understood",
                scheme=parts.scheme,
                unknown_options=sorted(options.keys() - _S3_OPTIONS),
            )
        return cls(_s3(options, settings or S3Settings()), f"{parts.netloc}{unquote(parts.path)}")

    def put(self, data: bytes) -> str:
        """Stores bytes durably and returns their blake2b-256 hex digest; idempotent.

        Raises:
            StoreFullError: when there is no space; nothing was stored.
            UnavailableError: when the store is away; nothing was stored, or all of it.
        """
        digest = blake2b(data, digest_size=32).hexdigest()
        if self.size_bytes(digest) == len(data):
            return digest
        if self._local is not None:
            return self._put_local(self._local, (data,))
        self._upload(digest, (data,), len(data))
        return digest

    def put_stream(self, chunks: Iterable[bytes]) -> str:
        """Stores the concatenation of chunks, of any length, in constant memory; else as `put`.

        What the iterator raises passes through, and nothing is stored then.
        """
        if self._local is not None:
            return self._put_local(self._local, chunks)
        with _translated():
            spool = tempfile.TemporaryFile()
        with spool:
            digest, length = _copy(chunks, spool)
            if self.size_bytes(digest) != length:
                spool.seek(0)
                self._upload(digest, iter(lambda: spool.read(CHUNK_BYTES), b""), length)
        return digest

    def get(self, digest: str) -> bytes:
        """Returns the bytes, verified.

        Raises:
            InvalidInputError: when this is not a digest.
            NotFoundError: when there is no such blob.
            StoreCorruptError: when the stored bytes have another digest.
            UnavailableError: when the store is away.
        """
        path = self._path(digest)
        with _translated(digest), self._files.open_input_stream(path) as stream:
            data: bytes = stream.read()
        _verify(digest, blake2b(data, digest_size=32).hexdigest())
        return data

    def get_stream(self, digest: str, chunk_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
        """Yields the bytes in order, in constant memory; raises as `get`.

        A corrupt blob is noticed behind its last chunk: use what came before only after the end.
        """
        path = self._path(digest)
        state = blake2b(digest_size=32)
        with _translated(digest):
            stream = self._files.open_input_stream(path)
        with stream:
            while True:
                with _translated(digest):
                    chunk: bytes = stream.read(chunk_bytes)
                if not chunk:
                    break
                state.update(chunk)
                yield chunk
        _verify(digest, state.hexdigest())

    def size_bytes(self, digest: str) -> int | None:
        """Returns the length of a blob, or nothing when it is absent.

        Raises:
            InvalidInputError: when this is not a digest.
            UnavailableError: when the store is away.
        """
        path = self._path(digest)
        with _translated(digest):
            info = self._files.get_file_info(path)
        return int(info.size) if info.type is fs.FileType.File else None

    def delete(self, digest: str) -> None:
        """Removes a blob durably; an absent one is fine.

        Raises:
            InvalidInputError: when this is not a digest.
            UnavailableError: when the store is away.
        """
        path = self._path(digest)
        with _translated(digest), suppress(FileNotFoundError):
            self._files.delete_file(path)
            if self._local is not None:
                _sync_folder(Path(path).parent)

    def digests(self) -> Iterator[str]:
        """Yields the digests of all blobs; those put or deleted meanwhile may be among them.

        Raises:
            UnavailableError: when the store is away.
        """
        for folder in self._list(self._root, recursive=False):
            if folder.type is fs.FileType.Directory and _FOLDER.fullmatch(folder.base_name):
                for info in self._list(folder.path, recursive=True):
                    if info.type is fs.FileType.File and _DIGEST.fullmatch(info.base_name):
                        yield info.base_name

    def _list(self, folder: str, *, recursive: bool) -> list[Any]:
        with _translated():
            selector = fs.FileSelector(folder, allow_not_found=True, recursive=recursive)
            return list(self._files.get_file_info(selector))

    def _put_local(self, root: Path, chunks: Iterable[bytes]) -> str:
        with _temporary(root / "tmp") as (name, stream):
            digest, length = _copy(chunks, stream)
            if self.size_bytes(digest) == length:
                return digest
            with _translated(digest):
                os.fsync(stream.fileno())
                target = Path(self._path(digest))
                _make_folder(target.parent)
                os.replace(name, target)
                _sync_folder(target.parent)
        return digest

    def _upload(self, digest: str, chunks: Iterable[bytes], length: int) -> None:
        path = self._path(digest)
        try:
            with _translated(digest), self._files.open_output_stream(path) as stream:
                for chunk in chunks:
                    stream.write(chunk)
        except (StoreError, UnavailableError):
            with suppress(StoreError, UnavailableError):
                if self.size_bytes(digest) not in (None, length):
                    self.delete(digest)
            raise

    def _path(self, digest: str) -> str:
        if not _DIGEST.fullmatch(digest):
            raise InvalidInputError("this is not a blob's digest")
        return f"{self._root}/{digest[:2]}/{digest[2:4]}/{digest}"


def _s3(options: dict[str, str], settings: S3Settings) -> Any:
    credentials = {
        name: value
        for name, value in (
            ("access_key", settings.access_key),
            ("secret_key", settings.secret_key),
            ("session_token", settings.session_token),
        )
        if value
    }
    try:
        return fs.S3FileSystem(
            **options,
            **credentials,
            connect_timeout=settings.connect_s,
            request_timeout=settings.request_s,
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=settings.attempts),
            allow_delayed_open=True,
        )
    except (ValueError, OSError) as error:
        raise ConfigurationError("the S3 settings are not understood") from error


def _copy(chunks: Iterable[bytes], sink: IO[bytes]) -> tuple[str, int]:
    """Writes chunks and returns digest and length of the whole."""
    state = blake2b(digest_size=32)
    length = 0
    for chunk in chunks:
        state.update(chunk)
        length += len(chunk)
        with _translated():
            sink.write(chunk)
    with _translated():
        sink.flush()
    return state.hexdigest(), length


def _verify(digest: str, actual: str) -> None:
    if actual != digest:
        raise StoreCorruptError("a blob is not what its digest says", digest=digest)


@contextmanager
def _temporary(folder: Path) -> Iterator[tuple[Path, IO[bytes]]]:
    """Makes a file that a sweep leaves alone while it is open; removes what was not renamed."""
    while True:
        name = folder / uuid4().hex
        with _translated():
            stream = os.fdopen(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb")
            fcntl.flock(stream, fcntl.LOCK_EX)
        try:
            # A sweep may have come between the creation and the lock.
            if name.exists():
                yield name, stream
                return
        finally:
            name.unlink(missing_ok=True)
            with suppress(OSError):
                stream.close()


def _sweep(folder: Path) -> None:
    for left_over in folder.iterdir():
        with suppress(FileNotFoundError), left_over.open("rb") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            left_over.unlink()


def _make_folder(folder: Path) -> None:
    """Makes a folder such that it survives a power cut."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _translated(digest: str = "") -> Iterator[None]:
    """Turns what the file systems raise into named errors, without what they say: it may name
    hosts, keys and signatures.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise NotFoundError("there is no such blob", digest=digest) from error
    except (OSError, pyarrow.ArrowException) as error:
        raise _named(error) from error


def _named(error: Exception) -> StoreError | UnavailableError:
    number = error.errno if isinstance(error, OSError) else None
    found = _AWS_CODE.search(str(error))
    reason = found[1] if found else os.strerror(number) if number else type(error).__name__
    if number in _FULL or _AWS_FULL.search(str(error)):
        return StoreFullError("no space for the blob", reason=reason)
    remote = number is None and reason not in _AWS_REFUSALS
    if number in _AWAY or remote:
        return UnavailableError("the blob store does not answer", reason=reason)
    return StoreError("the blob store failed", reason=reason)
