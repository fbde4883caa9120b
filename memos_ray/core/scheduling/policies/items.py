"""What is known of something that takes room in a tier."""

from __future__ import annotations

from dataclasses import dataclass, field

from memos_ray.core.cube.payload import Form
from memos_ray.core.scheduling.policies.rates import Uses

_RECENT = 0.3


@dataclass(frozen=True, slots=True)
class Budget:
    """Bytes that a tier may take: in all, and those of one tenant."""

    total_bytes: int
    tenant_bytes: int


@dataclass(slots=True)
class Holding:
    """What decides over something that is held, such as a KV cache.

    Attributes:
        build_s: seconds that it took to make.
        saves_s: seconds that a use saves; as many as it took to make, when absent.
        pinned: whether it stays whatever else is needed.
        label: kind, which policies may prefer and by which uses are learnt from.
        uses: when and how often it was wanted, held or not.
        changes: when and how often it was outdated; the same for all of its versions.
        similarity: of the last questions to it, from 0 to 1.
    """

    tenant: str
    size_bytes: int
    build_s: float
    pinned: bool = False
    label: str = ""
    form: Form = Form.ACTIVATION
    saves_s: float | None = None
    uses: Uses = field(default_factory=Uses)
    changes: Uses = field(default_factory=Uses)
    similarity: float = 0.0

    @property
    def saved_s(self) -> float:
        """Seconds that a use saves."""
        return self.build_s if self.saves_s is None else self.saves_s

    def heat(self, now: float) -> float:
        """Returns the number of uses, each of which counts for half after an hour."""
        return self.uses.heat(now)

    def asked(self, similarity: float) -> None:
        """Notes how similar a question was; older ones fade."""
        self.similarity += _RECENT * (similarity - self.similarity)
