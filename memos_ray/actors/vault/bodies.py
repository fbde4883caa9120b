"""A byte-bounded cache of memories, so that hot hits cost neither query nor decoding (OPER-5)."""

from __future__ import annotations

import sys
from collections import OrderedDict

from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.payload import Plaintext
from memos_ray.core.vault.log import Commit, CubeKey

_FIXED_BYTES = 1_700
_PART_BYTES = 130


class BodyCache:
    """Least-recently-used cache of heads. What was just written is in it where there is room.

    Invariant: an entry is the newest version as of the last commit seen by `apply`; a head that was
    read before a commit but put after it is refused, by the partition's commit count.

    Memory: about 1.7 KB an entry besides its texts, at most `budget_bytes`; estimated.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._budget = budget_bytes
        self._bytes = 0
        self._heads: OrderedDict[tuple[int, CubeKey], MemCube] = OrderedDict()
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
        head = self._heads.get((partition, key))
        if head is not None:
            self._heads.move_to_end((partition, key))
        return head

    def touch(self, partition: int, key: CubeKey) -> bool:
        """Tells whether a head is cached, and has it stay as if it had been used."""
        held = (partition, key) in self._heads
        if held:
            self._heads.move_to_end((partition, key))
        return held

    def put(self, partition: int, cube: MemCube, generation: int) -> int:
        """Caches a head that was read while the partition was at `generation`.

        Returns:
            The bytes that it takes; 0 when it is out of date already.
        """
        if generation != self.generation(partition):
            return 0
        entry, size = (partition, CubeKey(cube.tenant, cube.id)), _size(cube)
        self._discard(entry)
        self._heads[entry] = cube
        self._bytes += size
        while self._bytes > self._budget and self._heads:
            _, oldest = self._heads.popitem(last=False)
            self._bytes -= _size(oldest)
        return size

    def apply(self, commit: Commit) -> None:
        """Takes what a commit has written, and drops what it has changed otherwise."""
        self._commits[commit.partition] = self.generation(commit.partition) + 1
        for key in commit.touched:
            self._discard((commit.partition, key))
        for cube in commit.cubes:
            if isinstance(cube.payload, Plaintext):
                self._offer((commit.partition, CubeKey(cube.tenant, cube.id)), cube)

    def drop(self, partition: int) -> None:
        """Forgets a partition."""
        self._commits[partition] = self.generation(partition) + 1
        for entry in [entry for entry in self._heads if entry[0] == partition]:
            self._discard(entry)

    def _offer(self, entry: tuple[int, CubeKey], cube: MemCube) -> None:
        """Keeps a head that nobody has asked for yet, as long as no other has to go for it."""
        self._discard(entry)
        size = _size(cube)
        if self._bytes + size <= self._budget:
            self._heads[entry] = cube
            self._heads.move_to_end(entry, last=False)
            self._bytes += size

    def _discard(self, entry: tuple[int, CubeKey]) -> None:
        head = self._heads.pop(entry, None)
        if head is not None:
            self._bytes -= _size(head)


def _size(cube: MemCube) -> int:
    """RAM of a memory, estimated from its texts and from how many parts it has."""
    described, governed, payload = cube.descriptive, cube.governance, cube.payload
    parts = (
        described.tags,
        described.mentions,
        described.sources,
        governed.readers,
        governed.writers,
        governed.sharers,
        governed.sensitivity,
        governed.compliance,
        cube.usage.tasks,
        cube.usage.agents,
        cube.version.parents,
    )
    texts = [payload.text] if isinstance(payload, Plaintext) else []
    texts += [value for value in described.attributes.values() if isinstance(value, str)]
    count = sum(map(len, parts)) + len(described.attributes)
    return _FIXED_BYTES + _PART_BYTES * count + sum(map(sys.getsizeof, texts))
