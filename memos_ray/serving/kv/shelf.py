"""KV payloads that a replica keeps at hand for its engine, within a byte budget."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from memos_ray.core.activation import EngineFingerprint, KvLayout, KvPayload, Refusal, refusal
from memos_ray.serving.kv.canonical import Codec
from memos_ray.serving.kv.desk import Desk


@dataclass(slots=True)
class _Entry:
    size_bytes: int
    users: int = 0


class KvShelf:
    """Admits payloads to the desk: each is verified, translated and laid down once.

    Invariants: only payloads whose digests are right and that fit this engine lie on the desk; one
    in use is not taken away; the rest stays within `budget_bytes`.

    Attributes:
        codec: translates payloads of this engine.

    Eviction: the least recently used of those not in use.

    Concurrency: safe from several threads; verification of one payload does not hold up others.
    """

    def __init__(
        self, desk: Desk, engine: EngineFingerprint, element_bytes: int, budget_bytes: int
    ) -> None:
        self._desk = desk
        self._engine = engine
        self._element_bytes = element_bytes
        self.codec = Codec(engine, element_bytes)
        self._budget = budget_bytes
        self._lock = threading.Lock()
        self._held: OrderedDict[str, _Entry] = OrderedDict()
        self._bytes = 0

    @property
    def memory_bytes(self) -> int:
        """Bytes that lie on the desk."""
        return self._bytes

    @property
    def held(self) -> dict[str, int]:
        """Tokens of the payloads that lie on the desk, by name."""
        geometry = self._engine.model.geometry
        token_bytes = self._element_bytes * math.prod(geometry.canonical_shape(1))
        with self._lock:
            return {name: entry.size_bytes // token_bytes for name, entry in self._held.items()}

    @contextmanager
    def using(self, payloads: Sequence[KvPayload]) -> Iterator[list[str | Refusal]]:
        """Yields each payload's name on the desk, or why it is refused; they stay meanwhile."""
        with ExitStack() as stack:
            yield [stack.enter_context(self._using(payload)) for payload in payloads]

    @contextmanager
    def _using(self, payload: KvPayload) -> Iterator[str | Refusal]:
        name = payload.manifest.name
        refused = self._unfit(payload)
        if refused is None and not self._reuse(name):
            refused = None if payload.intact() else Refusal.DIGEST
            if refused is None:
                self._lay(name, payload)
        if refused is not None:
            yield refused
            return
        try:
            yield name
        finally:
            with self._lock:
                self._held[name].users -= 1
                self._shrink()

    def _unfit(self, payload: KvPayload) -> Refusal | None:
        manifest = payload.manifest
        if manifest.layout is KvLayout.CANONICAL and not self.codec.supported:
            return Refusal.ENGINE
        return refusal(manifest, self._engine, self._element_bytes)

    def _reuse(self, name: str) -> bool:
        with self._lock:
            entry = self._held.get(name)
            if entry is None:
                return False
            # Files in memory can be taken away by somebody else.
            if self._desk.look(name, 0) is None and not entry.users:
                self._bytes -= self._held.pop(name).size_bytes
                return False
            entry.users += 1
            self._held.move_to_end(name)
            return True

    def _lay(self, name: str, payload: KvPayload) -> None:
        manifest = payload.manifest
        ranks = list(payload.ranks)
        if manifest.layout is KvLayout.CANONICAL:
            ranks = self.codec.ranks(payload.ranks[0], manifest.held_tokens)
        for rank, part in enumerate(ranks):
            self._desk.lay(name, rank, part)
        with self._lock:
            # Another may have laid the same down meanwhile.
            if name not in self._held:
                self._held[name] = _Entry(manifest.size_bytes)
                self._bytes += manifest.size_bytes
            self._held[name].users += 1
            self._shrink()

    def _shrink(self) -> None:
        for name in [name for name, entry in self._held.items() if not entry.users]:
            if self._bytes <= self._budget:
                return
            self._bytes -= self._held.pop(name).size_bytes
            self._desk.clear(name)
