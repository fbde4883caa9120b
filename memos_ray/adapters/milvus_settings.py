"""Settings and outcomes of the vector store, free of any Milvus library."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class VectorIndex(StrEnum):
    """Index of the embeddings on a server; Milvus Lite always searches exactly.

    Nearly every search is filtered to one namespace. `FLAT` computes only what passes the filter,
    is exact, and finds what was written a moment ago; on the same data, 2.3.5 finds 73 % of the
    nearest with `HNSW` until its index is built, and all of them afterwards only where the filter
    is narrow. `HNSW` pays in namespaces of a million memories and more.
    """

    FLAT = "FLAT"
    HNSW = "HNSW"


class Consistency(StrEnum):
    """What a search on a server may miss.

    `SESSION`: nothing that this store object has written; a search right behind a write waits for
    the server's clock, up to 0.2 s. `BOUNDED`: what was written in the last moments.
    """

    SESSION = "Session"
    BOUNDED = "Bounded"


@dataclass(frozen=True, slots=True)
class MilvusSettings:
    """How to reach and use a Milvus engine.

    Attributes:
        token: `user:password` or an API key of a server; never logged.
        database: database of a server; empty for the default one.
        ca_file: PEM file of the authority that signed the server's certificate.
        connect_s: longest wait for a connection, and for the first attempt when opening.
        search_s: longest wait for a search or count.
        write_s: longest wait for one batch of writes.
        start_s: longest wait for Milvus Lite to start, and for a collection to be created.
        index: index on a server.
        hnsw_links: HNSW's M.
        hnsw_build: HNSW's efConstruction.
        hnsw_search: least HNSW ef of a search; it grows with the limit.
        hash_partitions: number of Milvus partitions that tenants are hashed to.
    """

    token: str = field(default="", repr=False)
    database: str = ""
    ca_file: str = ""
    connect_s: float = 2.0
    search_s: float = 3.0
    write_s: float = 30.0
    start_s: float = 60.0
    index: VectorIndex = VectorIndex.FLAT
    consistency: Consistency = Consistency.SESSION
    hnsw_links: int = 16
    hnsw_build: int = 200
    hnsw_search: int = 512
    hash_partitions: int = 16


@dataclass(frozen=True, slots=True)
class StoreLoss:
    """Files that were found damaged and moved aside; the store went on with nothing.

    Attributes:
        moved_to: where the damaged files are now.
    """

    moved_to: str
    reason: str
