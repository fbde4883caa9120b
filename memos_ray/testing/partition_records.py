"""What a record store in memory keeps of a partition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from memos_ray.core.cube import wire
from memos_ray.core.cube.cube import MemCube, State
from memos_ray.core.cube.decoding import decode
from memos_ray.core.cube.metadata import Usage
from memos_ray.core.lifecycle.archive import StoredVersion
from memos_ray.core.vault import storable
from memos_ray.core.vault.log import Commit, CubeKey, Event, Fence, Reply
from memos_ray.errors import AlreadyExistsError, InvalidInputError
from memos_ray.ports import Derivation, EventQuery, NamespaceSize, StoredVectors


@dataclass(slots=True)
class Chain:
    """All that is kept of one cube: versions by number, ascending, and what changes beside them."""

    versions: dict[int, MemCube] = field(default_factory=dict)
    vectors: dict[tuple[int, str], StoredVectors] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    sketch: str | None = None

    def head(self) -> MemCube:
        """Returns the newest version, with what changes beside it."""
        newest = self.versions[max(self.versions)]
        fingerprint = replace(newest.fingerprint, sketch=self.sketch)
        return replace(newest, usage=self.usage, fingerprint=fingerprint)

    def vectors_of(self, space: str, newest: int) -> StoredVectors | None:
        """Returns the vectors of the newest version up to one."""
        found = [number for number, held in self.vectors if number <= newest and held == space]
        return self.vectors[max(found), space] if found else None


@dataclass(slots=True)
class PartitionRecords:
    """All that is kept of one partition."""

    fence: Fence
    chains: dict[CubeKey, Chain] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    replies: dict[tuple[str, str, str], Reply] = field(default_factory=dict)
    cursors: dict[str, int] = field(default_factory=dict)
    accesses: list[Event] = field(default_factory=list)
    derivations: dict[tuple[str, str, str], Derivation] = field(default_factory=dict)


def placed(cube: MemCube, commit: Commit) -> MemCube:
    """Fills in the LSN of a version that does not carry it."""
    if cube.version.lsn:
        return cube
    lsns = [
        event.lsn
        for event in commit.events
        if (event.tenant, event.cube_id, event.version)
        == (cube.tenant, cube.id, cube.version.number)
    ]
    last = commit.events[-1].lsn if commit.events else 0
    return replace(cube, version=replace(cube.version, lsn=lsns[0] if lsns else last))


def check_new(part: PartitionRecords, commit: Commit) -> None:
    """Sees that a commit goes on where the partition ends.

    Raises:
        AlreadyExistsError: an entry, a version or a reply is there already.
    """
    for expected, event in enumerate(commit.events, start=len(part.events) + 1):
        if event.lsn != expected:
            raise AlreadyExistsError(
                "the log does not go on with this entry", lsn=event.lsn, expected=expected
            )
    versions: set[tuple[CubeKey, int]] = set()
    for cube in commit.cubes:
        key, number = CubeKey(cube.tenant, cube.id), cube.version.number
        stored = key in part.chains and key not in commit.erased
        if (key, number) in versions or (stored and number in part.chains[key].versions):
            raise AlreadyExistsError("the version is there", cube_id=key.id, version=number)
        versions.add((key, number))
    replies: set[tuple[str, str, str]] = set()
    for reply in commit.replies:
        place = reply.tenant, reply.scope, reply.key
        if place in part.replies or place in replies:
            raise AlreadyExistsError("the idempotency key has its reply", key=reply.key)
        replies.add(place)


def check_storable(commit: Commit) -> None:
    """Sees that every database can hold what a commit brings.

    Raises:
        InvalidInputError: it cannot.
    """
    for cube in commit.cubes:
        storable.check_cube(cube)
        try:
            wire.to_json(cube)
        except TypeError:
            raise InvalidInputError("the memory cannot be encoded", cube_id=cube.id) from None
    for event in commit.events:
        storable.check_event(event)
    for reply in commit.replies:
        storable.check_names(tenant=reply.tenant, scope=reply.scope, key=reply.key)


def stow(part: PartitionRecords, versions: Sequence[StoredVersion]) -> None:
    """See `RecordStorePort.stow`."""
    for one in versions:
        chain = part.chains.get(CubeKey(one.tenant, one.id), Chain()).versions
        held = chain.get(one.number)
        if held is not None and held.version.digest == one.digest:
            chain[one.number] = replace(held, payload=decode(one.body).payload)


def page_of(
    rows: Sequence[Event],
    after: int,
    limit: int,
    query: EventQuery | None,
    part: PartitionRecords,
) -> list[Event]:
    """Returns the entries of a log, or of the log of reads, that a query is about."""
    matches = _matcher(query or EventQuery(), part, rows is part.accesses)
    found = (event for event in rows[max(after, 0) :] if matches(event))
    return list(islice(found, limit))


def size_of(tenant: str, namespace: str, heads: Sequence[MemCube]) -> NamespaceSize:
    """Measures the memories of a namespace that are not deleted."""
    counted = [
        len(cube.text.encode())
        for cube in heads
        if (cube.tenant, cube.namespace) == (tenant, namespace) and cube.state is not State.DELETED
    ]
    return NamespaceSize(tenant, namespace, len(counted), sum(counted))


def _matcher(query: EventQuery, part: PartitionRecords, reads: bool) -> Callable[[Event], bool]:
    names = ("tenant", "namespace", "principal", "operation", "request_id", "outcome")
    wanted = {name: getattr(query, name) for name in names if getattr(query, name) is not None}
    storable.check_texts(**wanted, cube_id=query.cube_id)

    def about(event: Event) -> bool:
        named = str(event.detail.get("memories", "")).split(" ") if reads else ()
        return query.cube_id in (None, event.cube_id, *named)

    def in_form(event: Event) -> bool:
        chain = part.chains.get(CubeKey(event.tenant, event.cube_id or ""))
        return chain is not None and chain.head().payload.form == query.form

    def matches(event: Event) -> bool:
        return (
            all(getattr(event, name) == value for name, value in wanted.items())
            and about(event)
            and (query.form is None or in_form(event))
            and (query.through is None or event.lsn <= query.through)
            and (query.since is None or event.at >= query.since)
            and (query.until is None or event.at < query.until)
        )

    return matches
