"""The contract of `BlobStorePort`, on local disk and on an S3 server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer
from pyarrow import fs

from memos_ray.adapters.blobs import BlobStore
from memos_ray.errors import InvalidInputError, NotFoundError, StoreCorruptError


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"{host}:{port}"
    server.stop()


@pytest.fixture(params=["local", "s3"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    if request.param == "local":
        return BlobStore.local(tmp_path / "blobs")
    endpoint = request.getfixturevalue("s3_endpoint")
    files = fs.S3FileSystem(
        access_key="test",
        secret_key="test",
        endpoint_override=endpoint,
        scheme="http",
        region="us-east-1",
        allow_bucket_creation=True,
    )
    bucket = f"bucket-{abs(hash(request.node.nodeid))}"
    files.create_dir(bucket)
    return BlobStore(files, f"{bucket}/memos")


def test_what_was_put_is_got(blobs: BlobStore) -> None:
    for data in (b"", b"x", bytes(range(256)) * 5000):
        digest = blobs.put(data)
        assert blobs.get(digest) == data
        assert blobs.size_bytes(digest) == len(data)
        assert blobs.put(data) == digest


def test_digests_lists_every_blob_once(blobs: BlobStore) -> None:
    wanted = {blobs.put(bytes([n]) * n) for n in range(1, 6)}
    assert sorted(blobs.digests()) == sorted(wanted)


def test_a_deleted_blob_is_gone_and_deleting_again_is_fine(blobs: BlobStore) -> None:
    digest = blobs.put(b"short-lived")
    blobs.delete(digest)
    blobs.delete(digest)
    assert blobs.size_bytes(digest) is None
    with pytest.raises(NotFoundError):
        blobs.get(digest)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "/x"])
def test_only_digests_name_blobs(blobs: BlobStore, name: str) -> None:
    for act in (blobs.get, blobs.size_bytes, blobs.delete):
        with pytest.raises(InvalidInputError):
            act(name)


def test_changed_bytes_are_noticed(tmp_path: Path) -> None:
    blobs = BlobStore.local(tmp_path)
    digest = blobs.put(b"the truth")
    (tmp_path / digest[:2] / digest[2:4] / digest).write_bytes(b"the truthX")
    with pytest.raises(StoreCorruptError):
        blobs.get(digest)


def test_what_a_crash_left_behind_is_swept(tmp_path: Path) -> None:
    BlobStore.local(tmp_path)
    (tmp_path / "tmp" / "half-written").write_bytes(b"half")
    assert list(BlobStore.local(tmp_path).digests()) == []
    assert list((tmp_path / "tmp").iterdir()) == []
