"""A byte-bounded cache of encoded memories, so that hot hits cost no query (OPER-5)."""

from __future__ import annotations

from collections import OrderedDict

from memos_ray.core.cube import wire
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.decoding import decode
from memos_ray.core.vault.log import Commit, CubeKey

_OVERHEAD_BYTES = 200


class BodyCache:
    """Least-recently-used cache of heads.

    Invariant: an entry is the newest version as of the last commit seen by `apply`; a head that was
    read before a commit but put after it is refused, by the partition's commit count.

    Memory: the JSON bodies plus about 200 bytes an entry, at most `budget_bytes`.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._budget = budget_bytes
        self._bytes = 0
        self._bodies: OrderedDict[tuple[int, CubeKey], bytes] = OrderedDict()
        self._commits: dict[int, int] = {}

    @property
    def memory_bytes(self) -> int:
        """RAM held."""
        return self._bytes

    def generation(self, partition: int) -> int:
        """Returns what `put` must be given: the commits of a partition seen so far."""
        return self._commits.get(partition, 0)

    def get(self, partition: int, key: CubeKey) -> MemCube | None:
        """Returns a head, or nothing when it is not cached."""
        body = self._bodies.get((partition, key))
        if body is None:
            return None
        self._bodies.move_to_end((partition, key))
        return decode(body)

    def touch(self, partition: int, key: CubeKey) -> bool:
        """Tells whether a head is cached, and has it stay as if it had been used."""
        held = (partition, key) in self._bodies
        if held:
            self._bodies.move_to_end((partition, key))
        return held

    def put(self, partition: int, cube: MemCube, generation: int) -> int:
        """Caches a head that was read while the partition was at `generation`.

        Returns:
            The bytes that it takes; 0 when it is out of date already.
        """
        if generation != self.generation(partition):
            return 0
        body = wire.to_json(cube)
        self._store((partition, CubeKey(cube.tenant, cube.id)), body)
        return len(body) + _OVERHEAD_BYTES

    def apply(self, commit: Commit) -> None:
        """Drops what a commit has changed."""
        self._commits[commit.partition] = self.generation(commit.partition) + 1
        for key in (*commit.erased, *(CubeKey(c.tenant, c.id) for c in commit.cubes)):
            self._discard((commit.partition, key))

    def drop(self, partition: int) -> None:
        """Forgets a partition."""
        self._commits[partition] = self.generation(partition) + 1
        for entry in [entry for entry in self._bodies if entry[0] == partition]:
            self._discard(entry)

    def _store(self, entry: tuple[int, CubeKey], body: bytes) -> None:
        self._discard(entry)
        self._bodies[entry] = body
        self._bytes += len(body) + _OVERHEAD_BYTES
        while self._bytes > self._budget and self._bodies:
            _, oldest = self._bodies.popitem(last=False)
            self._bytes -= len(oldest) + _OVERHEAD_BYTES

    def _discard(self, entry: tuple[int, CubeKey]) -> None:
        body = self._bodies.pop(entry, None)
        if body is not None:
            self._bytes -= len(body) + _OVERHEAD_BYTES
