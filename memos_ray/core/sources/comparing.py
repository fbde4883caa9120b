"""Compares what is held with what a trusted source says. Pure, no LLM."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from memos_ray.core.crossing import crossing
from memos_ray.core.organising import statements
from memos_ray.core.retrieval.text import fold, split_words
from memos_ray.core.sources.claims import Claim, claims

_MOST_REASONS = 6
_SURE_AT_MOST = 0.95
# Of one sentence in more words than the other; of two that replace words by others.
_ADDED, _REPLACED, _REPLACED_IN_PLACE = 0.5, 0.85, 0.55
_QUOTED = 240


class Kind(StrEnum):
    """What a source does to something that is held."""

    CONTRADICTED = "contradicted"
    REVISED = "revised"
    UNCHANGED = "unchanged"
    WITHDRAWN = "withdrawn"


@crossing
@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a comparison.

    Attributes:
        confidence: 0 to 1.
        reasons: for people; they quote both texts.
    """

    kind: Kind
    confidence: float
    reasons: tuple[str, ...]


def compare(held: str, said: str, speaker: str | None = None) -> Verdict | None:
    """Compares a memory with what a source says; nothing unless they contradict one another.

    Args:
        speaker: who says "I" in the memory.
    """
    return _contradiction(held, said, speaker, in_place=False)


def compare_editions(held: str, said: str) -> Verdict:
    """Compares a section of an edition with the one that stands in its place in a newer one."""
    found = _contradiction(held, said, None, in_place=True)
    if found is not None:
        return found
    if split_words(fold(_body(held))) == split_words(fold(_body(said))):
        return Verdict(Kind.UNCHANGED, 1.0, ("the newer edition says the same",))
    gone = [one.text for one in claims(held) if one.text not in said]
    come = [one.text for one in claims(said) if one.text not in held]
    reasons = [f"no longer: {_quoted(text)}" for text in gone]
    reasons += [f"new: {_quoted(text)}" for text in come]
    return Verdict(Kind.REVISED, 0.8, tuple(reasons[:_MOST_REASONS]) or ("other words",))


def withdrawn() -> Verdict:
    """The verdict on a section that has no place in the newer edition."""
    return Verdict(Kind.WITHDRAWN, 0.6, ("the newer edition has nothing in its place",))


def _contradiction(held: str, said: str, speaker: str | None, *, in_place: bool) -> Verdict | None:
    best, reasons = 0.0, []
    before = {(one.subject, one.slot): one for one in statements(held, speaker)}
    for after in statements(said):
        old = before.get((after.subject, after.slot))
        if old is None or set(old.value) <= set(after.value) or set(after.value) <= set(old.value):
            continue
        whose = after.subject or "what is spoken of"
        change = f"{' '.join(old.value)} \u2192 {' '.join(after.value)}"
        reasons.append(f"{after.slot} of {whose}: {change}")
        best = max(best, after.sure)
    said_claims = claims(said)
    for claim in claims(held):
        met = _counterpart(claim, said_claims, in_place=in_place)
        if met is None:
            continue
        other, likeness = met
        changes = _changes(claim, other)
        if changes:
            best = max(best, min(_SURE_AT_MOST, 0.4 + 0.55 * likeness))
            texts = f"{_quoted(claim.text)} \u2192 {_quoted(other.text)}"
            reasons.append(f"{', '.join(changes)}: {texts}")
    if not reasons:
        return None
    return Verdict(Kind.CONTRADICTED, round(best, 3), tuple(reasons[:_MOST_REASONS]))


def _counterpart(
    claim: Claim, others: list[Claim], *, in_place: bool
) -> tuple[Claim, float] | None:
    """The sentence that speaks of the same, if there is one, and how alike the two are."""
    best: tuple[float, int, Claim] | None = None
    for other in others:
        likeness = _likeness(claim, other)
        shared = (claim.numbers & other.numbers).total()
        if best is None or (likeness, shared) > best[:2]:
            best = (likeness, shared, other)
    if best is None:
        return None
    likeness, _, other = best
    replaced = bool(claim.words - other.words) and bool(other.words - claim.words)
    least = _ADDED if not replaced else _REPLACED_IN_PLACE if in_place else _REPLACED
    alike = likeness >= least and len(claim.words & other.words) >= 2
    return (other, likeness) if alike else None


def _likeness(one: Claim, other: Claim) -> float:
    return len(one.words & other.words) / max(1, len(one.words | other.words))


def _changes(old: Claim, new: Claim) -> list[str]:
    found = []
    gone, come = old.numbers - new.numbers, new.numbers - old.numbers
    if gone and come:
        found.append(f"{' and '.join(gone)} \u2192 {' and '.join(come)}")
    if old.denied != new.denied:
        found.append("denied now" if new.denied else "no longer denied")
    if old.bounds and new.bounds and not old.bounds & new.bounds:
        found.append(f"{' and '.join(old.bounds)} \u2192 {' and '.join(new.bounds)}")
    return found


def _body(text: str) -> str:
    """A section without its headings, which are renumbered when sections move."""
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))


def _quoted(text: str) -> str:
    return text if len(text) <= _QUOTED else f"{text[: _QUOTED - 1]}\u2026"
