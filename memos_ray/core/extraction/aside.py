"""What could not follow its sources, and is set aside so that nothing waits for it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson

from memos_ray.core.cube.facets import from_micros, to_micros
from memos_ray.core.extraction.jobs import pause_s
from memos_ray.core.vault.log import CubeKey
from memos_ray.errors import StoreCorruptError

_LEAST_S, _MOST_S = 10.0, 600.0


@dataclass(frozen=True, slots=True)
class Aside:
    """A memory that is to follow its sources and cannot yet. No content of it.

    Attributes:
        owner: of the memory; empty where that cannot be read.
        gone: sources that are erased, whatever has their ids now.
        reason: code of the error.
        attempts: how often it was tried.
        not_before: when it is tried again.
    """

    key: CubeKey
    namespace: str
    owner: str
    gone: frozenset[str]
    reason: str
    attempts: int
    not_before: datetime

    def to_bytes(self) -> bytes:
        """Encodes what no column holds."""
        later = to_micros(self.not_before)
        return orjson.dumps([self.owner, sorted(self.gone), self.reason, self.attempts, later])

    @classmethod
    def from_bytes(cls, key: CubeKey, namespace: str, body: bytes) -> Aside:
        """Decodes `to_bytes`.

        Raises:
            StoreCorruptError: the bytes are none.
        """
        try:
            owner, gone, reason, attempts, later = orjson.loads(body)
            return cls(key, namespace, owner, frozenset(gone), reason, attempts, from_micros(later))
        except (ValueError, TypeError):
            raise StoreCorruptError("what is set aside cannot be read", cube_id=key.id) from None


def set_aside(
    key: CubeKey,
    namespace: str,
    owner: str,
    gone: Iterable[str],
    reason: str,
    before: Aside | None,
    now: datetime,
) -> Aside:
    """Returns a memory that has failed to follow, to be tried again after a growing pause.

    Args:
        before: how it was set aside already, if it was.
    """
    attempts = 1 if before is None else before.attempts + 1
    later = now + timedelta(seconds=pause_s(attempts, _LEAST_S, _MOST_S, 0.5))
    return Aside(key, namespace, owner, frozenset(gone), reason, attempts, later)
