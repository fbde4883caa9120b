"""Between the public models and the core's own types."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from memos_ray.core.cube.cube import MemCube, VersionInfo
from memos_ray.core.cube.metadata import (
    Decay,
    ExpiresAt,
    Forever,
    Lifespan,
    Setting,
    SourceRef,
    TimeSpan,
)
from memos_ray.core.cube.payload import ArchivedRef, Attachment, Plaintext
from memos_ray.core.retrieval.requests import Hit
from memos_ray.core.vault.log import Event
from memos_ray.core.vault.operations import Clearable, Create, Share, Update, Written
from memos_ray.errors import MemosError, UnavailableError
from memos_ray.gateway import paging
from memos_ray.gateway.memories.models import (
    AttachmentRef,
    Memory,
    MemoryChange,
    MemoryPage,
    NewMemory,
    SearchHit,
    Sharing,
    Signal,
    Source,
    Span,
    UsageStats,
    WriteReport,
    WriteResult,
)
from memos_ray.gateway.memories.record_models import Diff, FieldChange, LogEntry, VersionRecord
from memos_ray.gateway.problem_model import Problem


def problem_of(error: MemosError, request_id: str | None = None) -> Problem:
    """Describes an error as an RFC 9457 problem document."""
    return Problem(
        type=f"urn:memos-ray:error:{error.code}",
        title=(type(error).__doc__ or "").split(".")[0].split(";")[0].strip(),
        status=error.http_status,
        code=error.code,
        detail=error.message,
        retryable=error.retryable,
        details=dict(error.details),
        request_id=request_id,
    )


def _lifespan(expires_at: datetime | None, half_life_s: float | None) -> Lifespan | None:
    if expires_at is not None:
        return ExpiresAt(expires_at)
    return Decay(half_life_s) if half_life_s is not None else None


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names)) if names else ()


def create_of(new: NewMemory, minted_id: str) -> Create:
    """Makes the operation that stores a new memory."""
    attachments = tuple(
        Attachment(a.digest, a.media_type, a.size_bytes, a.uri) for a in new.attachments
    )
    return Create(
        payload=Plaintext(new.text, new.language, attachments),
        id=new.id,
        minted_id=minted_id,
        origin=new.origin,
        semantic_type=new.semantic_type,
        tags=_distinct(new.tags),
        setting=Setting(new.conversation, new.session, new.position, new.speaker, new.role),
        event_time=new.event_time,
        valid_from=new.valid_from,
        valid_to=new.valid_to,
        mentions=tuple(TimeSpan(span.start, span.end) for span in new.mentions),
        sources=tuple(SourceRef(s.uri, s.item, s.memory_id, s.version) for s in new.sources),
        attributes=dict(new.attributes),
        visibility=new.visibility,
        readers=_distinct(new.readers),
        writers=_distinct(new.writers),
        sharers=_distinct(new.sharers),
        lifespan=_lifespan(new.expires_at, new.half_life_s) or Forever(),
        priority=new.priority,
        sensitivity=_distinct(new.sensitivity),
        compliance=_distinct(new.compliance),
        watermark=new.watermark,
        legal_hold=new.legal_hold,
    )


def update_of(cube_id: str, change: MemoryChange) -> Update:
    """Makes the operation that changes a memory."""
    return Update(
        cube_id=cube_id,
        mode=change.mode,
        text=change.text,
        semantic_type=change.semantic_type,
        tags=None if change.tags is None else _distinct(change.tags),
        attributes=change.attributes,
        event_time=change.event_time,
        valid_from=change.valid_from,
        valid_to=change.valid_to,
        lifespan=_lifespan(change.expires_at, change.half_life_s),
        priority=change.priority,
        expected=change.expected_version,
        sensitivity=tuple(change.sensitivity),
        compliance=tuple(change.compliance),
        clear=tuple(
            name
            for name in Clearable
            if name in change.model_fields_set and getattr(change, name) is None
        ),
    )


def share_of(cube_id: str, sharing: Sharing) -> Share:
    """Makes the operation that changes who may reach a memory."""
    return Share(
        cube_id=cube_id,
        visibility=sharing.visibility,
        readers=tuple(sharing.readers),
        writers=tuple(sharing.writers),
        sharers=tuple(sharing.sharers),
        remove=tuple(sharing.remove),
        expected=sharing.expected_version,
    )


def page_of(cubes: Sequence[MemCube], cursor: str | None) -> MemoryPage:
    """Shows a page of memories, and which of them cannot be read now."""
    lost = [cube.id for cube in cubes if isinstance(cube.payload, ArchivedRef)]
    shown = [memory_of(cube) for cube in cubes if not isinstance(cube.payload, ArchivedRef)]
    return MemoryPage(memories=shown, cursor=cursor, unreadable=lost)


def memory_of(cube: MemCube) -> Memory:
    """Shows a cube to the outside."""
    about, rules, usage = cube.descriptive, cube.governance, cube.usage
    setting, lifespan, payload = about.setting, rules.lifespan, cube.payload
    if isinstance(payload, ArchivedRef):
        raise UnavailableError("the archived content cannot be read now", id=cube.id)
    plain = payload if isinstance(payload, Plaintext) else Plaintext("")
    # Stored cubes were validated on the way in; validating them again would cost most of a read.
    return Memory.model_construct(
        id=cube.id,
        provenance_id=cube.provenance_id,
        namespace=cube.namespace,
        form=payload.form,
        text=plain.text,
        version=cube.version.number,
        digest=cube.version.digest,
        state=cube.state,
        frozen=cube.frozen,
        semantic_type=about.semantic_type,
        origin=about.origin,
        tags=list(about.tags),
        language=plain.language,
        conversation=setting.conversation,
        session=setting.session,
        position=setting.position,
        speaker=setting.speaker,
        role=setting.role,
        created_at=about.created_at,
        updated_at=about.updated_at,
        event_time=about.event_time,
        valid_from=about.valid_from,
        valid_to=about.valid_to,
        mentions=[Span.model_construct(start=m.start, end=m.end) for m in about.mentions],
        sources=[_source(source) for source in about.sources],
        attachments=[
            AttachmentRef.model_construct(
                digest=a.digest, media_type=a.media_type, size_bytes=a.size_bytes, uri=a.uri
            )
            for a in plain.attachments
        ],
        attributes=dict(about.attributes),
        owner=rules.owner,
        visibility=rules.visibility,
        readers=list(rules.readers),
        writers=list(rules.writers),
        sharers=list(rules.sharers),
        expires_at=lifespan.at if isinstance(lifespan, ExpiresAt) else None,
        half_life_s=lifespan.half_life_s if isinstance(lifespan, Decay) else None,
        priority=rules.priority,
        sensitivity=list(rules.sensitivity),
        compliance=list(rules.compliance),
        watermark=rules.watermark,
        legal_hold=rules.legal_hold,
        simhash=cube.fingerprint.simhash,
        usage=UsageStats.model_construct(
            access_count=usage.access_count,
            last_access_at=usage.last_access_at,
            frequency=usage.frequency,
            cache_hits=usage.cache_hits,
            usefulness=usage.usefulness,
            tasks=list(usage.tasks),
            agents=list(usage.agents),
        ),
    )


def _source(source: SourceRef) -> Source:
    return Source.model_construct(
        uri=source.uri, item=source.item, memory_id=source.cube_id, version=source.version
    )


def hit_of(hit: Hit, explain: bool) -> SearchHit:
    """Shows a hit to the outside, with its signals when they are asked for."""
    signals = [
        Signal.model_construct(
            signal=part.signal,
            raw=part.raw,
            normalised=part.normalised,
            weight=part.weight,
            contribution=part.contribution,
            note=part.note,
        )
        for part in (hit.scored.parts if explain else ())
    ]
    return SearchHit.model_construct(
        memory=memory_of(hit.cube),
        score=hit.scored.score,
        relevance=hit.scored.relevance,
        signals=signals,
    )


def version_of(info: VersionInfo) -> VersionRecord:
    """Shows a version record to the outside."""
    return VersionRecord.model_construct(
        number=info.number,
        digest=info.digest,
        change=info.change,
        author=info.author,
        created_at=info.created_at,
        parents=[
            Source.model_construct(memory_id=parent.cube_id, version=parent.version)
            for parent in info.parents
        ],
        reason=info.reason,
        lsn=info.lsn,
    )


_VOLATILE = frozenset({"version", "digest", "updated_at", "usage", "simhash"})


def diff_of(before: MemCube, after: MemCube) -> Diff:
    """Compares two versions of one memory."""
    old, new = memory_of(before).model_dump(), memory_of(after).model_dump()
    changes = [
        FieldChange(field=name, before=old[name], after=new[name])
        for name in old
        if name not in _VOLATILE and old[name] != new[name]
    ]
    lines = difflib.unified_diff(
        before.text.splitlines(),
        after.text.splitlines(),
        f"version {before.version.number}",
        f"version {after.version.number}",
        lineterm="",
    )
    return Diff(
        id=before.id,
        from_version=before.version.number,
        to_version=after.version.number,
        changes=changes,
        text="\n".join(lines),
    )


def log_entry_of(event: Event, partition: int) -> LogEntry:
    """Shows a log event to the outside."""
    detail: dict[str, Any] = dict(event.detail)
    return LogEntry.model_construct(
        position=f"{partition}:{event.lsn}",
        at=event.at,
        namespace=event.namespace,
        principal=event.principal,
        operation=event.operation,
        outcome=event.outcome.value,
        memory_id=event.cube_id,
        version=event.version,
        purpose=event.purpose,
        role=event.role,
        application=event.application,
        request_id=event.request_id,
        detail=detail,
    )


def report_of(outcomes: Sequence[Written | MemosError], request_id: str) -> WriteReport:
    """Shows what became of writes."""
    results = [result_of(outcome, request_id) for outcome in outcomes]
    return WriteReport(results=results, token=token_of(outcomes))


def result_of(outcome: Written | MemosError, request_id: str) -> WriteResult:
    """Shows what became of a write."""
    if isinstance(outcome, MemosError):
        return WriteResult(error=problem_of(outcome, request_id))
    return WriteResult(id=outcome.cube_id, version=outcome.version, replayed=outcome.replayed)


def token_of(outcomes: Sequence[Written | MemosError]) -> str:
    """Makes the token by which a later read sees these writes."""
    newest: dict[int, int] = {}
    for outcome in outcomes:
        if isinstance(outcome, Written):
            newest[outcome.partition] = max(newest.get(outcome.partition, 0), outcome.lsn)
    return paging.encode_token(newest)
