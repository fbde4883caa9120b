"""Milvus' client and Milvus Lite still have what this project relies on."""

from __future__ import annotations

import inspect

import pytest

pytest.importorskip("milvus_lite")

from tests.upstream.surface import Relied, complaint

_LITE = "adapters/milvus_lite_server.py"
_CLIENT = "pymilvus:MilvusClient"
_ADAPTERS = "adapters/milvus_*.py"

RELIED = (
    Relied(f"{_CLIENT}.search", _ADAPTERS, ("collection_name",), ("data", "filter", "limit")),
    Relied(f"{_CLIENT}.query_iterator", _ADAPTERS, ("collection_name",), ("batch_size", "filter")),
    Relied(f"{_CLIENT}.upsert", _ADAPTERS, ("collection_name", "data"), ("timeout",)),
    Relied(f"{_CLIENT}.delete", _ADAPTERS, ("collection_name",), ("ids", "timeout")),
    Relied(f"{_CLIENT}.get_partition_stats", _ADAPTERS, ("collection_name", "partition_name")),
    Relied(f"{_CLIENT}.close", _ADAPTERS, ()),
    Relied(
        "milvus_lite.adapter.grpc.server:start_server_in_thread",
        _LITE,
        ("data_dir",),
        ("host", "port", "max_workers"),
    ),
    Relied("milvus_lite.exceptions:DataDirLockedError", _LITE),
    Relied("milvus_lite.db:MilvusLite.get_collection", _LITE, ("name",)),
    Relied("milvus_lite.db:MilvusLite.list_collections", _LITE, ()),
    Relied("milvus_lite.db:MilvusLite.close", _LITE, ()),
    Relied("milvus_lite.engine.collection:Collection._read_snapshot", _LITE, ()),
    Relied("milvus_lite.engine.collection:Collection", _LITE, has=("_memtable",)),
    Relied("milvus_lite.storage.memtable:MemTable.delete_index_snapshot", _LITE, ()),
    Relied(
        "milvus_lite.storage.memtable:MemTable.to_search_snapshot",
        _LITE,
        ("vector_field",),
        ("include_table",),
    ),
    Relied(
        "milvus_lite.storage.delta_index:DeltaIndex.is_deleted", _LITE, ("pk_value", "data_seq")
    ),
    Relied("milvus_lite.storage.segment:Segment", _LITE, has=("table", "seqs")),
)


@pytest.mark.parametrize("relied", RELIED, ids=lambda relied: relied.path)
def test_it_is_there(relied: Relied) -> None:
    problem = complaint(relied)
    assert problem is None, problem


def test_a_client_can_have_a_connection_of_its_own() -> None:
    from pymilvus import MilvusClient

    # Taken from keywords that nobody checks: without it, clients share one and close it together.
    assert '"dedicated"' in inspect.getsource(MilvusClient.__init__)
