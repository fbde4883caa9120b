"""What has happened to a memory, in one line of time, and what has been made of it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from memos_ray.errors import PermissionDeniedError
from memos_ray.gateway.fields import Model
from memos_ray.gateway.memories.models import Source

if TYPE_CHECKING:
    from memos_ray.client.sync.memos import MemOS
    from memos_ray.gateway.memories.record_models import LogEntry, VersionRecord

_PAGE = 200


class Moment(Model):
    """One thing that happened: a version was made, or an attempt failed.

    The request and its circumstances are absent where the caller may not read the log entry.
    """

    at: datetime
    what: str
    who: str
    outcome: str = "done"
    version: int | None = None
    reason: str | None = None
    purpose: str | None = None
    role: str | None = None
    application: str | None = None
    request_id: str | None = None


class Made(Model):
    """Something made of a memory: an activation memory with its cache, or an adapter."""

    id: str
    form: str
    model: str
    state: str
    version: int | None


class Timeline(Model):
    """The moments of a memory, oldest first, its sources, and what has been made of it."""

    id: str
    namespace: str
    moments: list[Moment]
    sources: list[Source]
    made: list[Made]


def timeline(memos: MemOS, id: str, namespace: str | None) -> Timeline:
    """Collects what the caller may know of a memory.

    Raises:
        NotFoundError: there is no such memory for this caller.
    """
    memory = memos.get(id, namespace=namespace)
    place = namespace or memory.namespace
    entries = _entries(memos, id, place)
    by_version = {one.version: one for one in entries if one.outcome == "done"}
    moments = [_of_version(one, by_version.get(one.number)) for one in _versions(memos, id, place)]
    known = {one.version for one in moments}
    moments += [_of_entry(one) for one in entries if one.version not in known]
    moments.sort(key=lambda one: (one.at, one.version or 0))
    return Timeline(
        id=id,
        namespace=memory.namespace,
        moments=moments,
        sources=memory.sources,
        made=_made(memos, id, place),
    )


def _versions(memos: MemOS, id: str, namespace: str) -> list[VersionRecord]:
    found: list[VersionRecord] = []
    cursor: str | None = None
    while True:
        page = memos.history(id, namespace=namespace, cursor=cursor, limit=_PAGE)
        found += page.versions
        cursor = page.cursor
        if cursor is None:
            return found


def _entries(memos: MemOS, id: str, namespace: str) -> list[LogEntry]:
    found: list[LogEntry] = []
    cursor: str | None = None
    while True:
        try:
            page = memos.log(namespace, memory_id=id, cursor=cursor, limit=_PAGE)
        except PermissionDeniedError:
            # The versions tell who made them; the circumstances are for administrators.
            return found
        found += page.entries
        cursor = page.cursor
        if cursor is None:
            return found


def _made(memos: MemOS, id: str, namespace: str) -> list[Made]:
    made = [
        Made(
            id=cache.id,
            form="activation",
            model=cache.model,
            state=cache.state,
            version=next(one.converted for one in cache.sources if one.id == id),
        )
        for cache in memos.kv.list(namespace)
        if any(one.id == id for one in cache.sources)
    ]
    return made + [
        Made(
            id=lesson.id,
            form="parameter",
            model=lesson.model,
            state=lesson.state,
            version=next(one.version for one in lesson.memories if one.id == id),
        )
        for lesson in memos.adapters.list(namespace)
        if any(one.id == id for one in lesson.memories)
    ]


def _of_version(version: VersionRecord, entry: LogEntry | None) -> Moment:
    return Moment(
        at=version.created_at,
        what=version.change,
        who=version.author,
        version=version.number,
        reason=version.reason,
        purpose=entry.purpose if entry else None,
        role=entry.role if entry else None,
        application=entry.application if entry else None,
        request_id=entry.request_id if entry else None,
    )


def _of_entry(entry: LogEntry) -> Moment:
    return Moment(
        at=entry.at,
        what=entry.operation,
        who=entry.principal,
        outcome=entry.outcome,
        version=entry.version,
        purpose=entry.purpose,
        role=entry.role,
        application=entry.application,
        request_id=entry.request_id,
    )
