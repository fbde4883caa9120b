"""What the grammars of both languages yield, and the words that rivals of a statement may have."""

from __future__ import annotations

from dataclasses import dataclass

RESIDENCE, WORK, STATUS, RELATIONSHIP = "residence", "work", "status", "relationship"
CUES: dict[str, tuple[tuple[str, ...], ...]] = {
    RESIDENCE: tuple(
        (word,) for word in ("live", "moved", "reside", "relocated", "住在", "搬到", "定居", "搬去")
    ),
    WORK: tuple((word,) for word in ("work", "joined", "job", "工作", "上班", "入职", "跳槽")),
    RELATIONSHIP: tuple(
        (word,)
        for word in ("single", "married", "engaged", "divorced", "单身", "结婚", "订婚", "离婚")
    ),
}


@dataclass(frozen=True, slots=True)
class Filled:
    """A statement as it is written; see `Statement`."""

    subject: str
    slot: str
    value: str
    changes: bool
    sure: float
    cues: tuple[tuple[str, ...], ...]
