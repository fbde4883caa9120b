"""Builders of cubes and commits for tests and benchmarks."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import orjson

from memos_ray.core.cube import wire
from memos_ray.core.cube.cube import Change, MemCube, ParentRef, State, VersionInfo
from memos_ray.core.cube.facets import to_micros
from memos_ray.core.cube.fingerprint import Fingerprint, simhash
from memos_ray.core.cube.identity import new_id
from memos_ray.core.cube.metadata import (
    Attribute,
    Descriptive,
    ExpiresAt,
    Forever,
    Governance,
    Lifespan,
    SemanticType,
    Setting,
    SourceRef,
    Usage,
    Visibility,
)
from memos_ray.core.cube.payload import (
    Payload,
    Plaintext,
)
from memos_ray.core.lifecycle.archive import Layout, StoredVersion
from memos_ray.core.vault.log import Commit, CubeKey, Event, Moved, Reply, Resting

START = datetime(2026, 1, 1, tzinfo=UTC)
"""The moment of cubes that name none."""

_serial = itertools.count(1)


def key_of(cube: MemCube) -> CubeKey:
    """Returns the key of a cube."""
    return CubeKey(cube.tenant, cube.id)


def make_cube(
    text: str = "The kettle is in the left cupboard.",
    *,
    id: str | None = None,
    tenant: str = "acme",
    namespace: str = "notes",
    owner: str = "user:ann",
    at: datetime = START,
    state: State = State.ACTIVATED,
    frozen: bool = False,
    payload: Payload | None = None,
    visibility: Visibility = Visibility.PRIVATE,
    readers: tuple[str, ...] = (),
    writers: tuple[str, ...] = (),
    sharers: tuple[str, ...] = (),
    sensitivity: tuple[str, ...] = (),
    compliance: tuple[str, ...] = (),
    lifespan: Lifespan | None = None,
    priority: int = 0,
    legal_hold: bool = False,
    tags: tuple[str, ...] = (),
    attributes: Mapping[str, Attribute] | None = None,
    semantic_type: SemanticType = SemanticType.FACT,
    setting: Setting | None = None,
    event_time: datetime | None = None,
    valid_from: datetime | None = None,
    valid_to: datetime | None = None,
    sources: tuple[SourceRef, ...] = (),
) -> MemCube:
    """Builds the first version of a cube; ids are fresh, unlike all others of this process."""
    cube_id = id or new_id(
        max(0, int(at.timestamp() * 1000)) & (2**48 - 1), next(_serial).to_bytes(10, "big")
    )
    body = payload or Plaintext(text)
    about = Descriptive(
        created_at=at,
        updated_at=at,
        semantic_type=semantic_type,
        tags=tags,
        setting=setting or Setting(),
        event_time=event_time,
        valid_from=valid_from,
        valid_to=valid_to,
        sources=sources,
        attributes=attributes or {},
    )
    rules = Governance(
        owner=owner,
        visibility=visibility,
        readers=readers,
        writers=writers,
        sharers=sharers,
        lifespan=lifespan or Forever(),
        priority=priority,
        sensitivity=sensitivity,
        compliance=compliance,
        legal_hold=legal_hold,
    )
    version = VersionInfo(1, wire.content_digest(body, about, rules), Change.CREATE, owner, at)
    return MemCube(
        id=cube_id,
        provenance_id=cube_id,
        tenant=tenant,
        namespace=namespace,
        payload=body,
        descriptive=about,
        governance=rules,
        version=version,
        fingerprint=Fingerprint(simhash(text if isinstance(body, Plaintext) else "")),
        state=state,
        frozen=frozen,
    )


def next_version(
    cube: MemCube,
    *,
    text: str | None = None,
    tags: tuple[str, ...] | None = None,
    state: State | None = None,
    at: datetime | None = None,
    change: Change = Change.OVERWRITE,
) -> MemCube:
    """Builds the version after `cube`, one second later unless told otherwise."""
    moment = at or cube.version.created_at + timedelta(seconds=1)
    payload = cube.payload if text is None else Plaintext(text)
    about = replace(
        cube.descriptive,
        updated_at=moment,
        tags=cube.descriptive.tags if tags is None else tags,
    )
    number = cube.version.number
    return replace(
        cube,
        payload=payload,
        descriptive=about,
        state=state or cube.state,
        version=VersionInfo(
            number + 1,
            wire.content_digest(payload, about, cube.governance),
            change,
            cube.version.author,
            moment,
            (ParentRef(cube.id, number),),
        ),
        fingerprint=cube.fingerprint if text is None else Fingerprint(simhash(text)),
        usage=Usage(),
    )


def make_event(cube: MemCube, lsn: int, operation: str | None = None) -> Event:
    """Builds the log entry of one version, or of its erasure with `operation="erase"`."""
    return Event(
        lsn=lsn,
        at=cube.version.created_at,
        tenant=cube.tenant,
        namespace=cube.namespace,
        principal=cube.version.author,
        operation=operation or cube.version.change.value,
        cube_id=cube.id,
        version=None if operation == "erase" else cube.version.number,
    )


def make_commit(
    cubes: Sequence[MemCube] = (),
    *,
    after: int = 0,
    partition: int = 0,
    epoch: int = 1,
    erased: Sequence[MemCube] = (),
    replies: Sequence[Reply] = (),
) -> Commit:
    """Builds a commit with one log entry per erasure and version; LSNs go on behind `after`.

    The cubes in it carry their LSN, as those that a writer commits.
    """
    lsns = itertools.count(after + 1)
    events = [make_event(cube, next(lsns), "erase") for cube in erased]
    placed = []
    for cube in cubes:
        lsn = next(lsns)
        events.append(make_event(cube, lsn))
        placed.append(replace(cube, version=replace(cube.version, lsn=lsn)))
    return Commit(
        partition,
        epoch,
        tuple(placed),
        tuple(key_of(cube) for cube in erased),
        tuple(events),
        tuple(replies),
    )


def resting(cube: MemCube) -> StoredVersion:
    """Returns a version as a record store holds it."""
    info = cube.version
    return StoredVersion(
        cube.tenant, cube.namespace, cube.id, info.number, info.digest, wire.to_json(cube)
    )


def at_rest(cube: MemCube) -> Resting:
    """Returns a head as a record store holds it."""
    number, sketch = cube.version.number, cube.fingerprint.sketch
    return Resting(
        key_of(cube),
        cube.namespace,
        number,
        cube.state.value,
        cube.frozen,
        sketch,
        wire.to_json(cube),
    )


def as_moved(cube: MemCube) -> Moved:
    """Returns a version that differs from the one before in its state alone, as it is committed."""
    info, lifespan = cube.version, cube.governance.lifespan
    return Moved(
        key_of(cube),
        cube.namespace,
        info.number,
        info.change,
        cube.state,
        info.author,
        info.reason,
        info.created_at,
        to_micros(lifespan.at) if isinstance(lifespan, ExpiresAt) else None,
        info.digest,
        orjson.dumps(info.parents),
        info.lsn,
        wire.to_json(cube),
    )


def stubbed(version: StoredVersion, blob: str, row: int) -> StoredVersion:
    """Returns a version without its content, as if that were in a row of a file.

    Raises:
        StoreCorruptError: when the body is no cube.
    """
    (stub,) = Layout((), ((version, row, *wire.payload_at(version.body)),)).stubs(blob)
    return stub
