"""What is on record: histories, logs, problems, and how the service is."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from memos_ray.core.cube.cube import Change
from memos_ray.core.cube.payload import Form
from memos_ray.core.vault.log import ANSWER, Outcome
from memos_ray.gateway.fields import Key, MemoryId, Model, Moment, Name
from memos_ray.gateway.memories.models import Source
from memos_ray.ports import EventQuery


class VersionRecord(Model):
    """One entry of a memory's history."""

    number: int
    digest: str
    change: Change
    author: str
    created_at: datetime
    parents: list[Source]
    reason: str | None
    lsn: int


class History(Model):
    """The versions of a memory, newest first."""

    id: str
    versions: list[VersionRecord]
    cursor: str | None = None


class FieldChange(Model):
    """One field that differs between two versions."""

    field: str
    before: Any
    after: Any


class Diff(Model):
    """What changed from one version to another; `text` is a unified diff."""

    id: str
    from_version: int
    to_version: int
    changes: list[FieldChange]
    text: str


class LogEntry(Model):
    """One event of the audit log (writes, decisions) or of the access log (reads)."""

    position: str
    at: datetime
    namespace: str
    principal: str
    operation: str
    outcome: str
    memory_id: str | None = None
    version: int | None = None
    purpose: str | None = None
    role: str | None = None
    application: str | None = None
    request_id: str = ""
    detail: dict[str, Any] = {}


class LogFilter(Model):
    """What of the logs is wanted; absent fields do not restrict.

    `reads` asks for the log of reads and answers instead of that of changes and decisions, and
    `everywhere` for all namespaces. `response` is the id of an answer: the entries say which
    memories it was given, at which versions and in which forms. `form` keeps entries about one
    memory that is in that form now.
    """

    principal: Name | None = None
    operation: Name | None = None
    memory_id: MemoryId | None = None
    request_id: Key | None = None
    response: Key | None = None
    outcome: Outcome | None = None
    form: Form | None = None
    since: Moment | None = None
    until: Moment | None = None
    reads: bool = False
    everywhere: bool = False

    @property
    def of_reads(self) -> bool:
        """Whether the log of reads is wanted."""
        return self.reads or self.response is not None

    def query(self, namespace: str | None) -> EventQuery:
        """Returns the filter over a partition's log."""
        return EventQuery(
            namespace=namespace,
            principal=self.principal,
            operation=self.operation if self.response is None else ANSWER,
            cube_id=self.memory_id,
            request_id=self.request_id if self.response is None else self.response,
            since=self.since,
            until=self.until,
            outcome=self.outcome,
            form=self.form,
        )


class LogPage(Model):
    """One page of the log, oldest first; a short one with a cursor is not the last."""

    entries: list[LogEntry]
    cursor: str | None = None


class Component(Model):
    """Health of one part of the cluster."""

    name: str
    status: Literal["ok", "degraded", "down"]
    detail: dict[str, Any] = {}


class Health(Model):
    """Health of the whole."""

    status: Literal["ok", "degraded", "down"]
    version: str
    components: list[Component] = []

    @classmethod
    def of(cls, version: str, components: list[Component]) -> Health:
        """Sums the parts up: the whole is as well as the part that is worst."""
        found = {component.status for component in components}
        if "down" in found:
            return cls(status="down", version=version, components=components)
        status: Literal["ok", "degraded"] = "degraded" if "degraded" in found else "ok"
        return cls(status=status, version=version, components=components)
