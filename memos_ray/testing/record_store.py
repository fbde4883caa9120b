"""A record store in memory, for tests and for trying things out; nothing of it survives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from memos_ray.core.cube.cube import Change, MemCube, State, VersionInfo
from memos_ray.core.cube.decoding import decode
from memos_ray.core.cube.facets import facets_of, to_micros
from memos_ray.core.cube.predicate import Predicate, evaluate
from memos_ray.core.cube.wire import to_json
from memos_ray.core.lifecycle.archive import StoredVersion
from memos_ray.core.lifecycle.sweeping import Sieve
from memos_ray.core.vault import storable
from memos_ray.core.vault import usage as indicators
from memos_ray.core.vault.log import (
    Commit,
    CubeKey,
    Event,
    Fence,
    Outcome,
    Reply,
    Resting,
    UsageDelta,
)
from memos_ray.core.vault.remnants import Remnant, remnant
from memos_ray.errors import FencedError
from memos_ray.ports import (
    ContentsPort,
    Damaged,
    EventQuery,
    NamespaceSize,
    Sifted,
    StoredVectors,
)
from memos_ray.testing.cubes import at_rest
from memos_ray.testing.derivation_rows import MemoryDerivations
from memos_ray.testing.partition_records import (
    Chain,
    check_new,
    check_storable,
    page_of,
    placed,
    size_of,
    stow,
)

Row = tuple[MemCube, StoredVectors | None]


class MemoryRecordStore(MemoryDerivations):
    """Implements `ports.RecordStorePort` with dictionaries.

    Concurrency: one lock around every method; a commit is all or nothing. Iterators walk a copy.
    """

    def __init__(self, contents: ContentsPort | None = None) -> None:
        super().__init__()
        self._fill = contents.fill if contents else _as_stored

    def fence(self, partition: int) -> Fence:
        """See `RecordStorePort.fence`."""
        with self._lock:
            return self._part(partition).fence

    def take(self, partition: int, owner: str, epoch: int) -> None:
        """See `RecordStorePort.take`."""
        storable.check_texts(owner=owner)
        with self._lock:
            part = self._part(partition)
            if epoch <= part.fence.epoch:
                raise FencedError(
                    "the partition has a newer owner", partition=partition, epoch=epoch
                )
            part.fence = Fence(partition, epoch, owner)

    def last_lsn(self, partition: int) -> int:
        """See `RecordStorePort.last_lsn`."""
        with self._lock:
            return len(self._part(partition).events)

    def commit(self, commit: Commit) -> None:
        """See `RecordStorePort.commit`.

        Raises:
            InvalidInputError: a field that no store can hold, see `core.vault.storable`; nothing
                was written.
        """
        decoded = (*commit.cubes, *(decode(one.body) for one in commit.moved))
        commit = replace(commit, cubes=decoded, moved=())
        with self._lock:
            part = self._held(commit.partition, commit.epoch)
            check_new(part, commit)
            check_storable(commit)
            for key in commit.erased:
                part.chains.pop(key, None)
            for cube in commit.cubes:
                key = CubeKey(cube.tenant, cube.id)
                chain = part.chains.get(key)
                if chain is None:
                    chain = part.chains[key] = Chain(usage=cube.usage)
                chain.versions[cube.version.number] = placed(cube, commit)
                chain.sketch = cube.fingerprint.sketch
            stow(part, commit.stowed)
            part.events.extend(commit.events)
            part.replies.update(((r.tenant, r.scope, r.key), r) for r in commit.replies)

    def heads(self, partition: int, keys: Sequence[CubeKey]) -> dict[CubeKey, MemCube]:
        """See `RecordStorePort.heads`."""
        with self._lock:
            chains = self._part(partition).chains
            return {key: self._fill(chains[key].head()) for key in keys if key in chains}

    def resting(self, partition: int, keys: Sequence[CubeKey]) -> list[Resting]:
        """See `RecordStorePort.resting`."""
        return [at_rest(cube) for cube in self.heads(partition, keys).values()]

    def remnants(self, partition: int, keys: Sequence[CubeKey]) -> dict[CubeKey, Remnant]:
        """See `RecordStorePort.remnants`."""
        with self._lock:
            part = self._part(partition)
            heads = {key: part.chains[key].head() for key in keys if key in part.chains}
            released = {
                CubeKey(event.tenant, event.cube_id or ""): event.lsn
                for event in part.events
                if event.operation == Change.RELEASE and event.outcome is Outcome.DONE
            }
        return {
            key: remnant(
                key,
                facets_of(head),
                head.version,
                head.governance.legal_hold and released.get(key, 0) <= head.version.lsn,
            )
            for key, head in heads.items()
        }

    def replies(
        self, partition: int, tenant: str, scope: str, keys: Sequence[str]
    ) -> dict[str, Reply]:
        """See `RecordStorePort.replies`."""
        with self._lock:
            held = self._part(partition).replies
            places = {key: (tenant, scope, key) for key in keys}
            return {key: held[place] for key, place in places.items() if place in held}

    def versions(self, partition: int, key: CubeKey, before: int, limit: int) -> list[VersionInfo]:
        """See `RecordStorePort.versions`."""
        with self._lock:
            chain = self._part(partition).chains.get(key, Chain())
            numbers = sorted((number for number in chain.versions if number < before), reverse=True)
            return [chain.versions[number].version for number in numbers[:limit]]

    def version(self, partition: int, key: CubeKey, number: int) -> MemCube | None:
        """See `RecordStorePort.version`."""
        with self._lock:
            found = self._part(partition).chains.get(key, Chain()).versions.get(number)
        return None if found is None else self._fill(found)

    def scan(
        self,
        partition: int,
        tenant: str,
        namespace: str,
        predicate: Predicate,
        after: tuple[int, str] | None,
        limit: int,
        damaged: Damaged | None = None,
    ) -> list[MemCube]:
        """See `RecordStorePort.scan`; what is held as objects can be read."""
        with self._lock:
            heads = self._heads_of(partition, tenant, namespace)
        found = [
            cube
            for cube in sorted(heads, key=_age, reverse=True)
            if (after is None or _age(cube) < after) and evaluate(predicate, facets_of(cube))
        ]
        return [self._fill(cube) for cube in found[:limit]]

    def sift(
        self, partition: int, after: CubeKey | None, limit: int, most: int, sieve: Sieve
    ) -> Sifted:
        """See `RecordStorePort.sift`."""
        last = ("", "") if after is None else (after.tenant, after.id)
        with self._lock:
            chains = self._part(partition).chains
            keys = sorted((key.tenant, key.id) for key in chains if (key.tenant, key.id) > last)
            page = [chains[CubeKey(*key)].head() for key in keys[:limit]]
        passed = [place for place, cube in enumerate(page) if sieve.passes(cube)][:most]
        if len(passed) == most:
            page = page[: passed[-1] + 1]
        end = CubeKey(page[-1].tenant, page[-1].id) if page else None
        cubes = [page[place] for place in passed]
        return Sifted(len(page), end, cubes, bodies=list(map(to_json, cubes)))

    def histories(self, partition: int, keys: Sequence[CubeKey]) -> dict[CubeKey, list[MemCube]]:
        """See `RecordStorePort.histories`."""
        with self._lock:
            chains = self._part(partition).chains
            return {
                key: [cube for _, cube in sorted(chains[key].versions.items())]
                for key in keys
                if key in chains
            }

    def bodies(
        self, partition: int, keys: Sequence[CubeKey], state: State | None = None
    ) -> list[StoredVersion]:
        """See `RecordStorePort.bodies`."""
        with self._lock:
            chains = self._part(partition).chains
            held = [(key, chains[key]) for key in keys if key in chains]
            return [
                StoredVersion(
                    key.tenant, cube.namespace, key.id, number, cube.version.digest, to_json(cube)
                )
                for key, chain in held
                if state in (None, chain.head().state)
                for number, cube in sorted(chain.versions.items())
            ]

    def stow(self, partition: int, epoch: int, versions: Sequence[StoredVersion]) -> None:
        """See `RecordStorePort.stow`."""
        with self._lock:
            stow(self._held(partition, epoch), versions)

    def as_of(
        self, partition: int, tenant: str, namespace: str, at: datetime, space: str
    ) -> Iterator[Row]:
        """See `RecordStorePort.as_of`."""
        found: list[tuple[tuple[int, str], Row]] = []
        with self._lock:
            for key, chain in self._part(partition).chains.items():
                then = [n for n, cube in chain.versions.items() if cube.version.created_at <= at]
                if key.tenant != tenant or not then:
                    continue
                cube = chain.versions[max(then)]
                if cube.namespace == namespace and cube.state is not State.DELETED:
                    row = cube, chain.vectors_of(space, cube.version.number)
                    found.append((_age(cube), row))
        for _, (cube, stored) in sorted(found, key=lambda pair: pair[0]):
            yield self._fill(cube), stored

    def load(
        self,
        partition: int,
        tenant: str,
        namespace: str,
        space: str,
        damaged: Damaged | None = None,
    ) -> Iterator[Row]:
        """See `RecordStorePort.load`."""
        with self._lock:
            chains = self._part(partition).chains
            found = [
                (cube, chains[CubeKey(tenant, cube.id)].vectors_of(space, cube.version.number))
                for cube in sorted(self._heads_of(partition, tenant, namespace), key=_age)
            ]
        yield from ((self._fill(cube), stored) for cube, stored in found)

    def vectors(
        self, partition: int, keys: Sequence[CubeKey], space: str
    ) -> dict[CubeKey, StoredVectors]:
        """See `RecordStorePort.vectors`."""
        with self._lock:
            chains = self._part(partition).chains
            found = {
                key: chains[key].vectors_of(space, max(chains[key].versions))
                for key in keys
                if key in chains
            }
        return {key: stored for key, stored in found.items() if stored is not None}

    def save_vectors(self, partition: int, epoch: int, rows: Sequence[StoredVectors]) -> None:
        """See `RecordStorePort.save_vectors`; rows of versions that are not there are skipped."""
        with self._lock:
            part = self._held(partition, epoch)
            for row in rows:
                chain = part.chains.get(row.key)
                if chain is None or row.version not in chain.versions:
                    continue
                chain.vectors[row.version, row.space] = row
                if row.version == max(chain.versions):
                    chain.sketch = row.sketch

    def derived(
        self, partition: int, tenant: str, cube_id: str, after: str, limit: int
    ) -> list[str]:
        """See `RecordStorePort.derived`."""
        with self._lock:
            found = [
                key.id
                for key, chain in self._part(partition).chains.items()
                if key.tenant == tenant and cube_id in storable.made_of(chain.head())
            ]
        return sorted(one for one in found if one > after)[:limit]

    def cursor(self, partition: int, name: str) -> int:
        """See `RecordStorePort.cursor`."""
        with self._lock:
            return self._part(partition).cursors.get(name, 0)

    def advance(self, partition: int, epoch: int, name: str, lsn: int) -> None:
        """See `RecordStorePort.advance`."""
        storable.check_names(cursor=name)
        with self._lock:
            self._held(partition, epoch).cursors[name] = lsn

    def events(
        self, partition: int, after: int, limit: int, query: EventQuery | None = None
    ) -> list[Event]:
        """See `RecordStorePort.events`."""
        with self._lock:
            part = self._part(partition)
            return page_of(part.events, after, limit, query, part)

    def log_position(self, partition: int, at: datetime, *, reads: bool) -> int:
        """See `RecordStorePort.log_position`."""
        with self._lock:
            part = self._part(partition)
            rows = part.accesses if reads else part.events
            return next((row.lsn - 1 for row in rows if row.at >= at), len(rows))

    def add_usage(self, partition: int, epoch: int, deltas: Sequence[UsageDelta]) -> None:
        """See `RecordStorePort.add_usage`."""
        with self._lock:
            part = self._held(partition, epoch)
            for delta in deltas:
                chain = part.chains.get(delta.key)
                if chain is not None:
                    chain.usage = indicators.add(chain.usage, delta)

    def add_accesses(self, partition: int, accesses: Sequence[Event]) -> None:
        """See `RecordStorePort.add_accesses`."""
        for access in accesses:
            storable.check_event(access)
        with self._lock:
            rows = self._part(partition).accesses
            start = len(rows) + 1
            rows.extend(access._replace(lsn=start + i) for i, access in enumerate(accesses))

    def accesses(
        self, partition: int, after: int, limit: int, query: EventQuery | None = None
    ) -> list[Event]:
        """See `RecordStorePort.accesses`."""
        with self._lock:
            part = self._part(partition)
            return page_of(part.accesses, after, limit, query, part)

    def namespaces(self, partition: int) -> list[NamespaceSize]:
        """See `RecordStorePort.namespaces`; one with nothing but deleted cubes counts none."""
        with self._lock:
            chains = self._part(partition).chains.values()
            heads = [chain.head() for chain in chains]
        places = sorted({(cube.tenant, cube.namespace) for cube in heads})
        return [size_of(tenant, namespace, heads) for tenant, namespace in places]

    def size(self, partition: int, tenant: str, namespace: str) -> NamespaceSize:
        """See `RecordStorePort.size`."""
        with self._lock:
            return size_of(tenant, namespace, self._heads_of(partition, tenant, namespace))

    def forget_replies(self, partition: int, epoch: int, before: datetime) -> int:
        """See `RecordStorePort.forget_replies`."""
        with self._lock:
            replies = self._held(partition, epoch).replies
            old = [place for place, reply in replies.items() if reply.at < before]
            for place in old:
                del replies[place]
            return len(old)

    def check(self) -> list[str]:
        """See `RecordStorePort.check`; memory does not rot."""
        return []

    def close(self) -> None:
        """See `RecordStorePort.close`."""
        with self._lock:
            self._closed = True
            self._partitions.clear()

    def _heads_of(self, partition: int, tenant: str, namespace: str) -> list[MemCube]:
        heads = (
            chain.head()
            for key, chain in self._part(partition).chains.items()
            if key.tenant == tenant
        )
        return [cube for cube in heads if cube.namespace == namespace]


def _as_stored(cube: MemCube) -> MemCube:
    return cube


def _age(cube: MemCube) -> tuple[int, str]:
    return to_micros(cube.descriptive.created_at), cube.id
