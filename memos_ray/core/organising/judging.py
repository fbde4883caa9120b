"""Judges two memories: do they say the same, or does one overtake the other? Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from memos_ray.core.crossing import crossing
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.fingerprint import similarity
from memos_ray.core.cube.payload import Plaintext
from memos_ray.core.lifecycle.states import LIVE
from memos_ray.core.organising.statements import Statement, statements
from memos_ray.core.retrieval.text import fold, split_words

# Of texts that differ in one word of ten, nine bits in ten of the fingerprints agree.
_ALIKE = 0.85
_SHARED = 0.85
_NEGATIONS = frozenset(
    ("not", "no", "never", "without", "nicht", "kein", "keine", "不", "没", "无")
)
_SAID_TO_CHANGE = 0.05


class Kind(StrEnum):
    """What two memories are to each other."""

    DUPLICATE = "duplicate"
    SUPERSESSION = "supersession"


@crossing
@dataclass(frozen=True, slots=True)
class Judgement:
    """What two memories are to each other.

    Attributes:
        confidence: 0 to 1.
        reasons: for people; they quote the memories.
    """

    kind: Kind
    confidence: float
    reasons: tuple[str, ...]


def moment_of(cube: MemCube) -> datetime:
    """From when a memory speaks: its validity, else when it was said, else when it was stored."""
    about = cube.descriptive
    return about.valid_from or about.event_time or about.created_at


def in_order(one: MemCube, other: MemCube) -> tuple[MemCube, MemCube]:
    """The older and the newer of two memories, by the moments that they speak from."""
    older, newer = sorted(
        (one, other), key=lambda cube: (moment_of(cube), cube.descriptive.created_at, cube.id)
    )
    return older, newer


def judge(one: MemCube, other: MemCube) -> Judgement | None:
    """Compares two memories; nothing when they have nothing to do with each other.

    Both must hold, be plain texts, be open to change, and be open to the same people: nothing about
    one of them may show in what becomes of the other.
    """
    if one.id == other.id or not (_in_force(one) and _in_force(other)):
        return None
    if _audience(one) != _audience(other):
        return None
    older, newer = in_order(one, other)
    return _superseded(older, newer) or _duplicate(older, newer)


def _in_force(cube: MemCube) -> bool:
    return (
        isinstance(cube.payload, Plaintext)
        and cube.state in LIVE
        and not cube.frozen
        and cube.descriptive.valid_to is None
    )


def _audience(cube: MemCube) -> tuple[object, ...]:
    rules = cube.governance
    return (
        cube.tenant,
        cube.namespace,
        rules.owner,
        rules.visibility,
        rules.readers,
        rules.writers,
        rules.sensitivity,
        rules.compliance,
    )


def _said(cube: MemCube) -> dict[tuple[str, str], Statement]:
    setting = cube.descriptive.setting
    if setting.role not in (None, "user"):
        return {}
    found = statements(cube.text, setting.speaker)
    return {(one.subject, one.slot): one for one in found}


def _superseded(older: MemCube, newer: MemCube) -> Judgement | None:
    before, after = _said(older), _said(newer)
    best: Judgement | None = None
    for key in before.keys() & after.keys():
        old, new = before[key], after[key]
        if _same_value(old.value, new.value):
            continue
        confidence = min(1.0, new.sure + (_SAID_TO_CHANGE if new.changes else 0.0))
        whose = new.subject or "the speaker"
        reason = f"{new.slot} of {whose}: {' '.join(old.value)} \u2192 {' '.join(new.value)}"
        if best is None or confidence > best.confidence:
            best = Judgement(Kind.SUPERSESSION, round(confidence, 3), (reason,))
    # What says more than the statement that was overtaken still tells the rest.
    if best is not None and len(before) > 1:
        return Judgement(
            best.kind,
            round(best.confidence * 0.7, 3),
            (*best.reasons, f"it tells {len(before) - 1} more"),
        )
    return best


def _same_value(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether one value says the other, perhaps in more words ("Oslo", "Oslo, Norway")."""
    return set(one) <= set(other) or set(other) <= set(one)


def _duplicate(older: MemCube, newer: MemCube) -> Judgement | None:
    # Whoever says a thing twice has said it twice: turns and pages keep their place.
    if any(cube.descriptive.setting.position is not None for cube in (older, newer)):
        return None
    if older.descriptive.event_time != newer.descriptive.event_time:
        return None
    one, other = split_words(fold(older.text)), split_words(fold(newer.text))
    if not one or older.descriptive.attributes != newer.descriptive.attributes:
        return None
    if one == other:
        return Judgement(Kind.DUPLICATE, 0.99, ("the same words",))
    shared = _share(Counter(one), Counter(other))
    alike = similarity(older.fingerprint, newer.fingerprint)
    if shared < _SHARED or alike < _ALIKE or _telling(older.text) != _telling(newer.text):
        return None
    return Judgement(
        Kind.DUPLICATE,
        round(0.5 + 0.4 * min(shared, alike), 3),
        (f"{shared:.0%} of the words", f"{alike:.0%} of the fingerprint"),
    )


def _share(one: Counter[str], other: Counter[str]) -> float:
    return (one & other).total() / max(1, (one | other).total())


def _telling(text: str) -> tuple[Counter[str], int, frozenset[str]]:
    """Numbers, denials and names: a text that differs in one of them says something else."""
    words = split_words(fold(text))
    numbers = Counter(word for word in words if any(map(str.isdigit, word)))
    denials = sum(word in _NEGATIONS for word in words) + text.count("n't") + text.count("n\u2019t")
    denials += sum(text.count(sign) for sign in "不没无")
    names = frozenset(word for word in text.split()[1:] if word[:1].isupper())
    return numbers, denials, names
