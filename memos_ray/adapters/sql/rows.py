"""Turns cubes, replies and what is beside them into rows, and rows into them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import orjson
from sqlalchemy import Row

from memos_ray.adapters.sql.predicates import value_hash
from memos_ray.adapters.sql.schema import SCALARS, version
from memos_ray.core.cube import wire
from memos_ray.core.cube.cube import Change, MemCube, ParentRef, VersionInfo
from memos_ray.core.cube.decoding import decode
from memos_ray.core.cube.facets import (
    ATTRIBUTE_PREFIX,
    FIELDS,
    Facets,
    Kind,
    facets_of,
    from_micros,
    to_micros,
)
from memos_ray.core.cube.metadata import Attribute, Decay, Usage
from memos_ray.core.vault import storable
from memos_ray.core.vault.log import CubeKey, Moved, Reply
from memos_ray.errors import InvalidInputError, StoreCorruptError
from memos_ray.ports import Damaged, Derivation, StoredVectors

Values = dict[str, Any]
InOrder = tuple[Any, ...]
"""A row's values, in an order that is told beside."""
AnyRow = Row[*tuple[Any, ...]]

_SETS = tuple(name for name, kind in FIELDS.items() if kind is Kind.SET)
_NONE = "[]"


# The rows of one commit are of one moment.
micros = lru_cache(maxsize=16)(to_micros)


def checked_facets(cube: MemCube) -> Facets:
    """Flattens a cube that the store can hold.

    Raises:
        InvalidInputError: when it cannot.
    """
    facets = facets_of(cube)
    storable.check_cube(cube, facets)
    return facets


VERSION = tuple(version.c.keys())
"""What `version_row` and `moved_version_row` tell, in their order."""


def version_row(partition: int, cube: MemCube, lsn: int, body: bytes | None = None) -> InOrder:
    """Builds the row of `version`; `body` is `wire.to_json` of the cube, if the caller has it."""
    info = cube.version
    return (
        partition,
        cube.tenant,
        cube.id,
        info.number,
        lsn,
        micros(info.created_at),
        cube.state.value,
        info.change.value,
        info.author,
        info.digest,
        orjson.dumps(info.parents).decode() if info.parents else _NONE,
        info.reason,
        body or _body(cube),
    )


def moved_version_row(partition: int, one: Moved) -> InOrder:
    """Builds the row of `version` for a move."""
    key, _, number, change, state, author, reason, at, _, digest, parents, lsn, body, _ = one
    made = number, lsn, micros(at), state.value, change.value
    return (partition, *key, *made, author, digest, parents.decode(), reason, body)


MOVED = ("p", "t", "n", "s", "at", "until")
"""What `moved_values` tell, in their order."""


def moved_values(partition: int, one: Moved) -> InOrder:
    """Builds what rows of `cube` become by a move, and where: but for their ids, many the same."""
    at = micros(one.created_at)
    return (partition, one.key.tenant, one.number, one.state.value, at, one.expires_at)


def _body(cube: MemCube) -> bytes:
    try:
        return wire.to_json(cube)
    except TypeError:
        # Text with lone surrogates, or an integer beyond 64 bits, somewhere only the body has it.
        raise InvalidInputError("the memory cannot be encoded", cube_id=cube.id) from None


def version_info(row: AnyRow) -> VersionInfo:
    """Rebuilds a version record from its columns."""
    return VersionInfo(
        number=row.number,
        digest=row.digest,
        change=Change(row.change),
        author=row.author,
        created_at=from_micros(row.created_at),
        parents=tuple(
            ParentRef(one["cube_id"], one["version"]) for one in orjson.loads(row.parents)
        ),
        reason=row.reason,
        lsn=row.lsn,
    )


def cube_row(partition: int, cube: MemCube, facets: Facets) -> Values:
    """Builds the row of `cube`."""
    row: Values = {name: facets.get(name) for name in SCALARS}
    row["partition"] = partition
    row["tenant"] = cube.tenant
    row["number"] = cube.version.number
    row["text_bytes"] = len(cube.text.encode())
    row["sketch"] = cube.fingerprint.sketch
    row["made_at"] = to_micros(cube.version.created_at)
    lifespan = cube.governance.lifespan
    row["half_life_s"] = lifespan.half_life_s if isinstance(lifespan, Decay) else None
    row.update(usage_values(cube.usage))
    return row


def usage_values(usage: Usage) -> Values:
    """Builds the usage columns of `cube`."""
    return {
        "access_count": usage.access_count,
        "last_access_at": None if usage.last_access_at is None else to_micros(usage.last_access_at),
        "frequency": usage.frequency,
        "cache_hits": usage.cache_hits,
        "usefulness": usage.usefulness,
        "tasks": orjson.dumps(usage.tasks).decode() if usage.tasks else _NONE,
        "agents": orjson.dumps(usage.agents).decode() if usage.agents else _NONE,
    }


USAGE_COLUMNS = (
    "access_count",
    "last_access_at",
    "frequency",
    "cache_hits",
    "usefulness",
    "tasks",
    "agents",
)
_UNUSED = Usage()
_UNUSED_VALUES = tuple(usage_values(_UNUSED)[name] for name in USAGE_COLUMNS)


def usage_of(values: Sequence[Any]) -> Usage:
    """Rebuilds the usage indicators from `USAGE_COLUMNS` of `cube`."""
    if values == _UNUSED_VALUES:
        return _UNUSED
    count, last, frequency, hits, usefulness, tasks, agents = values
    return Usage(
        count,
        None if last is None else from_micros(last),
        frequency,
        hits,
        usefulness,
        tuple(orjson.loads(tasks)),
        tuple(orjson.loads(agents)),
    )


def head_of(row: Sequence[Any]) -> MemCube:
    """Rebuilds a head: its version's body with live usage and sketch (columns as in `reads`)."""
    return decode(row[3], lsn=row[4], sketch=row[5], usage=usage_of(row[6:13]))


def readable(found: Iterable[AnyRow], damaged: Damaged | None) -> Iterator[tuple[MemCube, AnyRow]]:
    """Rebuilds heads; tells of those that cannot be read, where somebody wants to hear it."""
    for row in found:
        try:
            cube = head_of(row)
        except StoreCorruptError:
            if damaged is None:
                raise
            damaged(CubeKey(row.tenant, row.id))
            continue
        yield cube, row


SOURCE = "source"
"""Labels of the memories that a head was made of; no field of filters."""


def label_rows(partition: int, cube: MemCube, facets: Facets) -> Iterator[Values]:
    """Builds the rows of `label`: one for each element of a set and each attribute."""

    def row(name: str, slot: int, value: Attribute) -> Values:
        flag = isinstance(value, bool)
        return {
            "partition": partition,
            "tenant": cube.tenant,
            "cube_id": cube.id,
            "name": name,
            "slot": slot,
            "text": value if isinstance(value, str) else None,
            "flag": value if flag else None,
            "whole": value if isinstance(value, int) and not flag else None,
            "real": value if isinstance(value, float) else None,
            "hash": value_hash(value),
        }

    for name in _SETS:
        held = facets.get(name)
        if isinstance(held, tuple):
            for slot, value in enumerate(held):
                yield row(name, slot, value)
    for name, attribute in cube.descriptive.attributes.items():
        yield row(ATTRIBUTE_PREFIX + name, 0, attribute)
    for slot, source in enumerate(storable.made_of(cube)):
        yield row(SOURCE, slot, source)


def reply_row(partition: int, reply: Reply) -> Values:
    """Builds the row of `reply`."""
    storable.check_names(tenant=reply.tenant, scope=reply.scope, key=reply.key)
    return {
        "partition": partition,
        "tenant": reply.tenant,
        "scope": reply.scope,
        "key": reply.key,
        "request": reply.request,
        "at": to_micros(reply.at),
        "body": reply.body,
    }


def reply_of(row: AnyRow) -> Reply:
    """Rebuilds a stored answer."""
    return Reply(row.tenant, row.scope, row.key, row.request, row.body, from_micros(row.at))


def derivation_row(partition: int, row: Derivation) -> Values:
    """Builds the row of `derivation`."""
    names = {
        "tenant": row.tenant,
        "kind": row.kind,
        "name": row.name,
        "namespace": row.namespace,
        "blob": row.blob,
    }
    storable.check_names(**names)
    return {"partition": partition, **names, "size_bytes": row.size_bytes, "body": row.body}


def derivation_of(row: AnyRow) -> Derivation:
    """Rebuilds what has been made of memories."""
    return Derivation(
        row.tenant, row.kind, row.name, row.namespace, row.blob, row.size_bytes, row.body
    )


def vectors_row(partition: int, stored: StoredVectors) -> Values:
    """Builds the row of `vector`."""
    storable.check_names(space=stored.space)
    return {
        "partition": partition,
        "tenant": stored.key.tenant,
        "cube_id": stored.key.id,
        "space": stored.space,
        "version": stored.version,
        "sketch": stored.sketch,
        "body": stored.body,
    }


def vectors_of(row: AnyRow, key: CubeKey) -> StoredVectors:
    """Rebuilds stored vectors from the columns that joins name `vector_…`."""
    return StoredVectors(
        key, row.vector_version, row.vector_space, row.vector_body, row.vector_sketch
    )
