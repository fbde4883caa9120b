"""What `MilvusVectorStore` needs from an engine, and the collection that all engines share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Protocol

from pymilvus import CollectionSchema, DataType, MilvusClient

from memos_ray.adapters import milvus_rows as rows
from memos_ray.adapters.milvus_expr import Filter
from memos_ray.adapters.milvus_rows import Dialect, Row
from memos_ray.adapters.milvus_settings import StoreLoss
from memos_ray.core.cube.facets import FIELDS, Kind
from memos_ray.errors import DimensionMismatchError
from memos_ray.ports import Vectors

Hit = tuple[float, Mapping[str, Any]]
"""Cosine and the asked-for columns of one row."""

MOST_HITS = 16_384
"""The largest number of hits that an engine returns for one search."""

_TOKEN_LENGTH = 512
_KEY_LENGTH = 64


class Backend(Protocol):
    """One kind of Milvus engine. All methods raise `VectorStoreError` when it is away."""

    dialect: Dialect
    batch_rows: int

    @property
    def templates(self) -> bool:
        """Whether expressions may carry parameters."""
        ...

    @property
    def home(self) -> str:
        """Names the place where the rows are kept; no secret."""
        ...

    @property
    def generation(self) -> int:
        """Grows with each connection: what was true of the engine before may not be now."""
        ...

    def losses(self) -> Sequence[StoreLoss]:
        """Returns what was found damaged since this object was made."""
        ...

    def create(self, collection: str, dim: int) -> None:
        """Creates a collection when absent and makes it searchable.

        Raises:
            DimensionMismatchError: when it is there with another dimension.
        """
        ...

    def scope(self, partition: int, tenant: str, namespace: str) -> str:
        """Returns the expression that one namespace of one partition satisfies."""
        ...

    def write(self, collection: str, partition: int, batch: Sequence[Row]) -> None:
        """Inserts or replaces rows of one partition."""
        ...

    def erase(self, collection: str, partition: int, keys: Sequence[str]) -> None:
        """Deletes rows of one partition; the next search sees it."""
        ...

    def collections(self) -> Sequence[str]:
        """Returns the collections that there are, foreign ones included."""
        ...

    def erase_unsearched(self, collection: str, partition: int, keys: Sequence[str]) -> None:
        """Deletes rows of one partition in a collection that nobody searches now."""
        ...

    def nearest(
        self,
        collection: str,
        partition: int,
        query: Filter,
        vector: Vectors,
        limit: int,
        columns: Sequence[str],
    ) -> list[Hit]:
        """Returns the rows nearest to a vector, best first."""
        ...

    def scan(
        self, collection: str, partition: int, query: Filter, columns: Sequence[str]
    ) -> Iterator[Mapping[str, Any]]:
        """Yields all rows that pass, in no order."""
        ...

    def count(self, collection: str, partition: int) -> int:
        """Counts the rows of a partition."""
        ...

    def clear(self, collection: str, partition: int) -> None:
        """Deletes all rows of a partition and notes that it is complete from there on."""
        ...

    def is_known(self, collection: str, partition: int) -> bool:
        """Tells whether `clear` was called for a partition and its rows are still here."""
        ...

    def close(self) -> None:
        """Releases the engine."""
        ...


def digest_of(place: str) -> str:
    """Names a folder or a server without showing its address, which may hold a password."""
    return blake2b(place.encode(), digest_size=8).hexdigest()


def collection_schema(
    dialect: Dialect, dim: int, *, partition_key: bool = False
) -> CollectionSchema:
    """Describes a collection: one row per record, one column per facet.

    Args:
        partition_key: let the engine distribute the rows by tenant.
    """
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    server = dialect is Dialect.SERVER
    texts = {rows.KEY: _KEY_LENGTH, rows.SCOPE: _KEY_LENGTH, rows.TENANT: _TOKEN_LENGTH}
    for name, length in texts.items():
        schema.add_field(
            name,
            DataType.VARCHAR,
            max_length=length,
            is_primary=name == rows.KEY,
            is_partition_key=partition_key and name == rows.TENANT,
        )
    for name in (rows.CUBE, rows.FACETS):
        schema.add_field(name, DataType.VARCHAR, max_length=rows.TEXT_LIMIT_BYTES)
    integers = (rows.PARTITION, rows.VERSION)
    for name in integers if server else (*integers, rows.STAMP):
        schema.add_field(name, DataType.INT64)
    for field, kind in FIELDS.items():
        match kind:
            case Kind.SET:
                _add_set(schema, rows.column(field), server)
            case Kind.INTEGER | Kind.TIME:
                schema.add_field(rows.column(field), DataType.INT64)
            case Kind.TEXT | Kind.FLAG:
                schema.add_field(rows.column(field), DataType.VARCHAR, max_length=_TOKEN_LENGTH)
    _add_set(schema, rows.TERMS, server)
    schema.add_field(rows.NUMBERS, DataType.JSON)
    schema.add_field(rows.VECTOR, DataType.FLOAT_VECTOR, dim=dim)
    return schema


def _add_set(schema: CollectionSchema, name: str, server: bool) -> None:
    if server:
        schema.add_field(
            name,
            DataType.ARRAY,
            element_type=DataType.VARCHAR,
            max_capacity=rows.SET_LIMIT,
            max_length=_TOKEN_LENGTH,
        )
    else:
        schema.add_field(name, DataType.VARCHAR, max_length=rows.TEXT_LIMIT_BYTES)


def check_dimension(described: Mapping[str, Any], collection: str, dim: int) -> None:
    """Checks a collection that is there already.

    Raises:
        DimensionMismatchError: when its vectors have another length.
    """
    for field in described["fields"]:
        if field["name"] == rows.VECTOR:
            held = int(field["params"]["dim"])
            if held != dim:
                raise DimensionMismatchError(
                    "a collection of this name holds vectors of another length",
                    collection=collection,
                    expected=dim,
                    actual=held,
                )


def pages(
    client: Any,
    collection: str,
    query: Filter,
    columns: Sequence[str],
    timeout_s: float,
    **options: Any,
) -> Iterator[Mapping[str, Any]]:
    """Yields all rows that pass a filter, page by page."""
    iterator = client.query_iterator(
        collection,
        batch_size=512,
        filter=query.text,
        filter_params=query.params,
        output_fields=list(columns),
        timeout=timeout_s,
        **options,
    )
    try:
        while page := iterator.next():
            yield from page
    finally:
        iterator.close()
