"""The contract of `BlobStorePort`, on local disk and on an S3 server."""

from __future__ import annotations

import itertools
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import fs

from memos_ray.adapters.blobs import BlobStore, S3Settings
from memos_ray.errors import (
    ConfigurationError,
    InvalidInputError,
    NotFoundError,
    StoreCorruptError,
    StoreError,
    StoreFullError,
    UnavailableError,
)
from memos_ray.testing.s3_server import S3Server, S3UnavailableError

BIG = bytes(range(256)) * 50_000
S3 = S3Settings(access_key="test", secret_key="test", connect_s=10.0, request_s=60.0, attempts=2)
_buckets = itertools.count()


def digest_of(data: bytes) -> str:
    return blake2b(data, digest_size=32).hexdigest()


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    try:
        server = S3Server()
        server.start()
    except S3UnavailableError as error:
        pytest.skip(f"no S3 server here: {error}")
    yield server
    server.stop()


def s3_uri(server: S3Server, bucket: str) -> str:
    return f"s3://{bucket}/memos?endpoint_override={server.endpoint}&scheme=http&region=us-east-1"


@pytest.fixture(scope="module", params=["local", "s3"])
def blobs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> BlobStore:
    if request.param == "local":
        return BlobStore.local(tmp_path_factory.mktemp("blobs"))
    server = request.getfixturevalue("s3")
    bucket = f"bucket-{next(_buckets)}"
    server.make_bucket(bucket)
    return BlobStore.from_uri(s3_uri(server, bucket), S3)


@pytest.mark.parametrize("data", [b"", b"x", BIG], ids=["empty", "small", "big"])
def test_what_was_put_is_got(blobs: BlobStore, data: bytes) -> None:
    digest = blobs.put(data)
    assert digest == digest_of(data)
    assert blobs.get(digest) == data
    assert b"".join(blobs.get_stream(digest)) == data
    assert blobs.size_bytes(digest) == len(data)
    assert digest in set(blobs.digests())


@given(st.lists(st.binary(max_size=40), max_size=6), st.integers(1, 50))
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_streams_and_bytes_are_the_same_blob(
    blobs: BlobStore, chunks: list[bytes], chunk_bytes: int
) -> None:
    whole = b"".join(chunks)
    digest = blobs.put_stream(chunks)
    assert digest == digest_of(whole) == blobs.put(whole)
    assert b"".join(blobs.get_stream(digest, chunk_bytes)) == whole


def test_a_long_stream_is_never_whole_in_memory(blobs: BlobStore) -> None:
    digest = blobs.put_stream(bytes([n]) * (1 << 20) for n in range(12))
    pieces = [(len(piece), piece[0]) for piece in blobs.get_stream(digest)]
    assert pieces == [(1 << 20, n) for n in range(12)]


def test_a_stream_that_fails_stores_nothing(blobs: BlobStore) -> None:
    before = set(blobs.digests())

    def source() -> Iterator[bytes]:
        yield BIG
        raise FileExistsError("of the caller's own")

    with pytest.raises(FileExistsError):
        blobs.put_stream(source())
    assert set(blobs.digests()) == before


def test_a_deleted_blob_is_gone_and_deleting_again_is_fine(blobs: BlobStore) -> None:
    digest = blobs.put(b"short-lived")
    blobs.delete(digest)
    blobs.delete(digest)
    assert blobs.size_bytes(digest) is None
    assert digest not in set(blobs.digests())
    with pytest.raises(NotFoundError):
        blobs.get(digest)
    with pytest.raises(NotFoundError):
        list(blobs.get_stream(digest))
    assert blobs.get(blobs.put(b"short-lived")) == b"short-lived"


@pytest.mark.parametrize(
    "name", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "/x", "0" * 64 + "\n"]
)
def test_only_digests_name_blobs(blobs: BlobStore, name: str) -> None:
    acts: tuple[Callable[[str], object], ...] = (
        blobs.get,
        blobs.size_bytes,
        blobs.delete,
        lambda digest: list(blobs.get_stream(digest)),
    )
    for act in acts:
        with pytest.raises(InvalidInputError):
            act(name)


def test_many_callers_may_put_the_same(blobs: BlobStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        digests = set(pool.map(lambda n: blobs.put(b"shared" + bytes([n % 2])), range(24)))
    assert digests == {digest_of(b"shared\0"), digest_of(b"shared\1")}
    assert all(blobs.get(digest).startswith(b"shared") for digest in digests)


@pytest.mark.parametrize("stored", [b"the truth?", b"the trut", b""], ids=["other", "short", "no"])
def test_changed_bytes_are_noticed(tmp_path: Path, stored: bytes) -> None:
    blobs = BlobStore.local(tmp_path)
    digest = blobs.put(b"the truth!")
    (tmp_path / digest[:2] / digest[2:4] / digest).write_bytes(stored)
    with pytest.raises(StoreCorruptError):
        blobs.get(digest)
    with pytest.raises(StoreCorruptError):
        list(blobs.get_stream(digest))


def test_bytes_changed_on_s3_are_noticed_and_a_short_object_is_mended(s3: S3Server) -> None:
    s3.make_bucket("changed")
    blobs = BlobStore.from_uri(s3_uri(s3, "changed"), S3)
    digest = blobs.put(b"the truth!")
    raw = fs.S3FileSystem(
        access_key="test", secret_key="test", endpoint_override=s3.endpoint, scheme="http"
    )
    with raw.open_output_stream(f"changed/memos/{digest[:2]}/{digest[2:4]}/{digest}") as out:
        out.write(b"the")
    with pytest.raises(StoreCorruptError):
        blobs.get(digest)
    assert blobs.put(b"the truth!") == digest
    assert blobs.get(digest) == b"the truth!"


def test_a_blob_that_is_there_is_not_written_again(tmp_path: Path) -> None:
    blobs = BlobStore.local(tmp_path)
    digest = blobs.put(b"once")
    file = tmp_path / digest[:2] / digest[2:4] / digest
    inode = file.stat().st_ino
    blobs.put(b"once")
    blobs.put_stream([b"on", b"ce"])
    assert file.stat().st_ino == inode
    assert file.stat().st_mode & 0o077 == 0


def test_other_files_are_not_blobs(tmp_path: Path) -> None:
    blobs = BlobStore.local(tmp_path)
    digest = blobs.put(b"a blob")
    (tmp_path / "README").write_text("not a blob")
    (tmp_path / digest[:2] / "notes").write_text("not a blob")
    (tmp_path / "tmp" / ("0" * 64)).write_text("not a blob")
    assert list(blobs.digests()) == [digest]


_KILLED = """
import sys, time
from memos_ray.adapters.blobs import BlobStore
def slow():
    for _ in range(1_000):
        yield bytes(1 << 16)
        print("written", flush=True)
        time.sleep(0.01)
BlobStore.local(sys.argv[1]).put_stream(slow())
"""


def test_a_writer_killed_half_way_leaves_nothing_behind(tmp_path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "written\n"
    BlobStore.local(tmp_path)
    assert len(list((tmp_path / "tmp").iterdir())) == 1, "a writer at work lost its file"
    os.kill(writer.pid, signal.SIGKILL)
    writer.stdout.close()
    writer.wait()
    blobs = BlobStore.local(tmp_path)
    assert list((tmp_path / "tmp").iterdir()) == []
    assert list(blobs.digests()) == []


def test_a_full_disk_is_named_and_reads_go_on(tmp_path: Path) -> None:
    blobs = BlobStore.local(tmp_path)
    small = blobs.put(b"small")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(StoreFullError):
            blobs.put(BIG)
        with pytest.raises(StoreFullError):
            blobs.put_stream([BIG])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((tmp_path / "tmp").iterdir()) == []
    assert list(blobs.digests()) == [small]
    assert blobs.get(small) == b"small"


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError):
        BlobStore.local(tmp_path / "file")


@pytest.mark.parametrize(
    "uri",
    [
        "ftp://host/x",
        "s3:///no-bucket",
        "s3://bucket/x?color=red",
        "s3://AKIA:hunter2@bucket/x",
        "s3://bucket/x?access_key=AKIA&secret_key=hunter2",
        "file://elsewhere/x",
    ],
)
def test_uris_are_checked_and_never_repeated(uri: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        BlobStore.from_uri(uri)
    assert "hunter2" not in f"{caught.value}{caught.value.details}"
    assert "hunter2" not in repr(S3Settings(secret_key="hunter2"))


def test_a_file_uri_opens_a_folder(tmp_path: Path) -> None:
    blobs = BlobStore.from_uri((tmp_path / "with space").as_uri())
    assert (tmp_path / "with space").is_dir()
    assert blobs.get(blobs.put(b"x")) == b"x"


def test_a_missing_bucket_is_not_taken_for_an_outage(s3: S3Server) -> None:
    blobs = BlobStore.from_uri(s3_uri(s3, "nobody-made-this"), S3)
    with pytest.raises(StoreError) as caught:
        blobs.put(b"x")
    assert not caught.value.retryable


def test_an_s3_store_that_is_away_is_named_and_comes_back() -> None:
    server = S3Server()
    blobs = BlobStore.from_uri(s3_uri(server, "away"), replace(S3, attempts=1))
    digest = digest_of(b"x")
    calls: tuple[Callable[[], object], ...] = (
        lambda: blobs.put(b"x"),
        lambda: blobs.put_stream([b"x"]),
        lambda: blobs.get(digest),
        lambda: list(blobs.get_stream(digest)),
        lambda: blobs.size_bytes(digest),
        lambda: blobs.delete(digest),
        lambda: list(blobs.digests()),
    )
    for call in calls:
        with pytest.raises(UnavailableError):
            call()
    server.start()
    server.make_bucket("away")
    assert blobs.get(blobs.put(b"x")) == b"x"
    server.stop()
