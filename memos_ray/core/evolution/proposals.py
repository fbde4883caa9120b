"""What use suggests to change, the writes that do it, and those that take it back. Pure.

Nothing is lost: what a split or a summary stands for is put away, can be read, and comes back when
it is undone. What is made has the access, the labels and the owner of what it was made of, names it
as its source, and follows it as what was extracted does: it goes when a source is erased.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

import orjson

from memos_ray.core.crossing import crossing
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.identity import digest
from memos_ray.core.cube.metadata import Forever, Origin, SemanticType, Setting, SourceRef
from memos_ray.core.cube.payload import Form, Plaintext
from memos_ray.core.evolution.echo import parts_of
from memos_ray.core.evolution.summary import summarised
from memos_ray.core.lifecycle.states import LIVE
from memos_ray.core.vault.operations import (
    Archive,
    Create,
    Delete,
    Operation,
    Restore,
    Write,
)
from memos_ray.errors import StoreCorruptError

ID_DIGITS = 24
_LONG_CHARS, _LEAST_PARTS = 1200, 4
_LEAST_ECHOES, _TWICE, _APART = 6, 2, 0.5
_OLD = timedelta(days=30)
_SELDOM = 0.2
_GROUP_LEAST, _GROUP_MOST = 5, 40


class EvolutionKind(StrEnum):
    """What is proposed: a long memory in its parts, one summary for old memories of a kind, or that
    a model has memories at hand as a KV cache, or learns them.
    """

    SPLIT = "split"
    SUMMARY = "summary"
    PROMOTION = "promotion"


class EvolvedState(StrEnum):
    """Where a proposal stands; what was refused or undone is not proposed again."""

    OPEN = "open"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNDONE = "undone"


@crossing
@dataclass(frozen=True, slots=True)
class Evolved:
    """A proposal, and what has become of it.

    Attributes:
        sources: ids of the memories that it is about, with the versions that were looked at.
        reasons: for people; they quote nothing.
        made: ids of what was made, with their versions.
        put_away: versions of the sources since they were put away, in the order of `sources`.
        model: of a promotion.
        form: of a promotion: what the memories become.
    """

    id: str
    tenant: str
    namespace: str
    kind: EvolutionKind
    sources: tuple[tuple[str, int], ...]
    reasons: tuple[str, ...]
    found_at: datetime
    state: EvolvedState = EvolvedState.OPEN
    made: tuple[tuple[str, int], ...] = ()
    put_away: tuple[int, ...] = ()
    model: str = ""
    form: Form = Form.PLAINTEXT

    def to_bytes(self) -> bytes:
        """Encodes what no column holds; no content of a memory."""
        return orjson.dumps(
            {
                "kind": self.kind,
                "sources": self.sources,
                "reasons": self.reasons,
                "found_at": self.found_at,
                "state": self.state,
                "made": self.made,
                "put_away": self.put_away,
                "model": self.model,
                "form": self.form,
            }
        )

    @classmethod
    def from_bytes(cls, id: str, tenant: str, namespace: str, body: bytes) -> Evolved:
        """Decodes `to_bytes`.

        Raises:
            StoreCorruptError: the bytes are none of a proposal.
        """
        try:
            held = orjson.loads(body)
            return cls(
                id,
                tenant,
                namespace,
                EvolutionKind(held["kind"]),
                tuple((name, number) for name, number in held["sources"]),
                tuple(held["reasons"]),
                datetime.fromisoformat(held["found_at"]),
                EvolvedState(held["state"]),
                tuple((name, number) for name, number in held["made"]),
                tuple(held["put_away"]),
                held.get("model", ""),
                Form(held.get("form", Form.PLAINTEXT.value)),
            )
        except (ValueError, KeyError, TypeError):
            raise StoreCorruptError("a proposal cannot be read", proposal=id) from None


def split_of(cube: MemCube, parts: Mapping[int, int], now: datetime) -> Evolved | None:
    """Proposes to split a long memory of which answers use now this part and now that one.

    Args:
        parts: how often each part came back in an answer.
    """
    text = cube.text
    if len(text) < _LONG_CHARS or not _may_change(cube):
        return None
    pieces = parts_of(text)
    used = [place for place, count in parts.items() if count >= _TWICE and place < len(pieces)]
    total = sum(parts.values())
    apart = 2 <= len(used) <= _APART * len(pieces)
    if len(pieces) < _LEAST_PARTS or total < _LEAST_ECHOES or not apart:
        return None
    reasons = (
        f"{len(text)} characters in {len(pieces)} parts",
        f"answers have used {len(used)} of them apart, {total} times in all",
    )
    return _proposed(EvolutionKind.SPLIT, [cube], reasons, now)


def summaries_of(cubes: Sequence[MemCube], now: datetime) -> list[Evolved]:
    """Proposes summaries for groups of old, seldom used episodes of one session or topic."""
    groups: dict[tuple[object, ...], list[MemCube]] = {}
    for cube in cubes:
        key = _group_of(cube, now)
        if key is not None:
            groups.setdefault(key, []).append(cube)
    found = []
    for group in groups.values():
        group.sort(key=lambda cube: (_moment(cube), cube.id))
        for start in range(0, len(group) - _GROUP_LEAST + 1, _GROUP_MOST):
            part = group[start : start + _GROUP_MOST]
            if len(part) >= _GROUP_LEAST:
                days = (now - _moment(part[-1])).days
                reasons = (
                    f"{len(part)} episodes of one {'session' if _session(part[0]) else 'topic'}",
                    f"the newest is {days} days old, and they are seldom read",
                )
                found.append(_proposed(EvolutionKind.SUMMARY, part, reasons, now))
    return found


def writes_of(proposal: Evolved, heads: Sequence[MemCube], ids: Sequence[str]) -> list[Write]:
    """The writes that carry a proposal out, to be committed together.

    They expect the versions that were looked at, and are the same when they are made again: done
    twice they have happened once.

    Args:
        heads: the sources, in order.
        ids: minted, at least as many as are made.
    """
    first, reason = heads[0], f"evolution: {proposal.kind.value}"
    if proposal.kind is EvolutionKind.SPLIT:
        texts, semantic_type = parts_of(first.text), first.descriptive.semantic_type
    else:
        texts, semantic_type = [text_of(heads)], SemanticType.EPISODE
    writes = []
    for number, text in enumerate(texts):
        create = _created(text, semantic_type, heads, proposal.sources, ids[number])
        writes.append(_write(proposal, create, f"make/{number}", reason))
    for id, version in proposal.sources:
        put_away = Archive(id, expected=version)
        writes.append(_write(proposal, put_away, f"away/{id}", reason))
    return writes


def undoing(proposal: Evolved) -> list[Write]:
    """The writes that take a proposal back; each only while its memory is as it was left."""
    reason = f"evolution: {proposal.kind.value} undone"
    writes = [
        _write(proposal, Delete(id, expected=version), f"unmake/{id}", reason)
        for id, version in proposal.made
    ]
    away = () if proposal.kind is EvolutionKind.PROMOTION else proposal.sources
    for (id, _), version in zip(away, proposal.put_away, strict=True):
        writes.append(_write(proposal, Restore(id, expected=version), f"back/{id}", reason))
    return writes


def repeated(one: Evolved, known: Iterable[Evolved]) -> bool:
    """Tells whether a summary is of nothing but what another one is, or was, proposed for.

    So it is when some of those are read again. What has been changed since is something else.
    """
    if one.kind is not EvolutionKind.SUMMARY:
        return False
    others = (other for other in known if other.kind is EvolutionKind.SUMMARY)
    return any(_left_by(other).issuperset(one.sources) for other in others)


def _left_by(proposal: Evolved) -> set[tuple[str, int]]:
    """The sources of a proposal, as they are when nobody has changed them since."""
    if proposal.state is not EvolvedState.UNDONE:
        return set(proposal.sources)
    # Each has come back by one more version.
    away = zip(proposal.sources, proposal.put_away, strict=True)
    return {(id, version + 1) for (id, _), version in away}


def text_of(heads: Sequence[MemCube]) -> str:
    """The text of a summary."""
    return summarised([head.text for head in heads])


def _write(proposal: Evolved, operation: Operation, step: str, reason: str) -> Write:
    key = f"evolution:{proposal.id}/{step}"
    made_of = proposal.sources if isinstance(operation, Create) else ()
    return Write(proposal.namespace, operation, key, reason, derived_from=made_of)


def _created(
    text: str,
    semantic_type: SemanticType,
    heads: Sequence[MemCube],
    sources: Sequence[tuple[str, int]],
    minted: str,
) -> Create:
    first = heads[0]
    about, rules = first.descriptive, first.governance
    shared = set(about.tags).intersection(*(head.descriptive.tags for head in heads))
    alone = len(heads) == 1
    return Create(
        Plaintext(text, language=getattr(first.payload, "language", None)),
        minted_id=minted,
        origin=Origin.INFERENCE,
        semantic_type=semantic_type,
        tags=tuple(tag for tag in about.tags if tag in shared),
        setting=about.setting if alone else _setting(heads),
        event_time=about.event_time,
        valid_from=about.valid_from if alone else None,
        valid_to=about.valid_to if alone else None,
        sources=tuple(SourceRef(cube_id=id, version=version) for id, version in sources),
        attributes=about.attributes if alone else {},
        visibility=rules.visibility,
        readers=rules.readers,
        writers=rules.writers,
        sharers=rules.sharers,
        lifespan=rules.lifespan if alone else Forever(),
        priority=rules.priority,
        sensitivity=rules.sensitivity,
        compliance=rules.compliance,
        watermark=next((mark for one in heads if (mark := one.governance.watermark)), None),
        legal_hold=rules.legal_hold,
    )


def _setting(heads: Sequence[MemCube]) -> Setting:
    return replace(heads[0].descriptive.setting, position=None, speaker=None, role=None)


def _may_change(cube: MemCube) -> bool:
    held = cube.frozen or cube.governance.legal_hold or cube.state not in LIVE
    return not held and isinstance(cube.payload, Plaintext) and not cube.payload.attachments


def _group_of(cube: MemCube, now: datetime) -> tuple[object, ...] | None:
    """What the members of a group have in common: their topic, and all that decides on access."""
    about, rules, usage = cube.descriptive, cube.governance, cube.usage
    kind = about.semantic_type in (SemanticType.EPISODE, SemanticType.EVENT)
    old = now - _moment(cube) >= _OLD
    last = usage.last_access_at
    age_s = 0.0 if last is None else (now - last).total_seconds()
    heat = usage.frequency * 0.5 ** (age_s / (7 * 86_400.0))
    topic = _session(cube) or about.tags[:1]
    if not (kind and old and heat < _SELDOM and topic and _may_change(cube)):
        return None
    if about.valid_to is not None or not isinstance(rules.lifespan, Forever):
        return None
    access = (rules.owner, rules.visibility, rules.readers, rules.writers, rules.sharers)
    return (topic, *access, rules.sensitivity, rules.compliance)


def _session(cube: MemCube) -> tuple[str | None, str | None] | None:
    setting = cube.descriptive.setting
    return (setting.conversation, setting.session) if setting.conversation else None


def _moment(cube: MemCube) -> datetime:
    return cube.descriptive.event_time or cube.descriptive.created_at


def _proposed(
    kind: EvolutionKind, cubes: Sequence[MemCube], reasons: tuple[str, ...], now: datetime
) -> Evolved:
    sources = tuple((cube.id, cube.version.number) for cube in cubes)
    # By what they say: being put away and back makes a version, and nothing new to propose.
    named = (part.encode() for cube in cubes for part in (cube.id, cube.text))
    id = digest(b"memos-evolution-1", kind.value.encode(), *named)[:ID_DIGITS]
    return Evolved(id, cubes[0].tenant, cubes[0].namespace, kind, sources, reasons, now)
