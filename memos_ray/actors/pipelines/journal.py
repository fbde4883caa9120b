"""The journals of runs, and named pipelines, in the control store.

    tenant "/runs"        run/<id>                          runs under way, of all tenants
    tenant "/runs/x"      run/<id>                          runs of tenant x that have ended
    tenant "/pipelines/x" <namespace>/<name>/<version>      named pipelines of tenant x

No tenant has a name with a slash. A journal is replaced by compare-and-set: of two runners that
drive one run, the first to save wins, and the other one finds out before it does anything more.

Concurrency: methods block; called from worker threads, one at a time for each run.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from memos_ray.core.access.context import CallContext
from memos_ray.core.pipeline.run import Run, decode, encode, parked
from memos_ray.core.pipeline.stored import StoredPipeline, decode_stored, encode_stored
from memos_ray.core.vault.log import ControlChange, ControlRecord, Event, Outcome
from memos_ray.errors import StoreCorruptError, VersionConflictError
from memos_ray.ports import ClockPort, ControlStorePort

_log = logging.getLogger(__name__)
OPEN, RUN = "/runs", "run"
"""Where the journals of runs under way are."""

_STORED = "/pipelines"
OPERATION = "pipeline"
"""Of the log entries of runs."""


@dataclass(slots=True)
class PipelineJournal:
    """Reads and writes them.

    Attributes:
        kept: how many ended runs of a tenant are kept.
    """

    store: ControlStorePort
    clock: ClockPort
    kept: int
    _revisions: dict[str, int] = field(default_factory=dict)

    def open_runs(self) -> list[Run]:
        """Returns the runs that are under way, and makes this the one who writes them.

        Those whose journals cannot be read are parked; theirs are not written.
        """
        records = self.store.load(OPEN)
        self._revisions.update({record.key: record.revision for record in records})
        return [_read(record) for record in records]

    def save(self, run: Run, step: str, state: str, **detail: str | int | None) -> None:
        """Makes a run durable, with a log entry, in one transaction.

        Args:
            step: that the entry is about; empty for the run.

        Raises:
            VersionConflictError: another runner drives this run.
        """
        revision = self._revisions.get(run.id, 0)
        change = ControlChange(OPEN, RUN, run.id, encode(run), revision)
        self.store.commit([change], [self._event(run, step, state, detail)])
        self._revisions[run.id] = revision + 1

    def end(self, run: Run) -> None:
        """Moves a run that is over to those that have ended; drops the oldest beyond `kept`.

        Raises:
            VersionConflictError: another runner drives this run.
        """
        shelf = f"{OPEN}/{run.context.principal.tenant}"
        changes = [ControlChange(shelf, RUN, run.id, encode(run), 0)]
        revision = self._revisions.get(run.id, 0)
        if revision:
            changes.append(ControlChange(OPEN, RUN, run.id, None, revision))
        event = self._event(run, "", run.state.value, {"reason": run.reason})
        self.store.commit(changes, [event])
        self._revisions.pop(run.id, None)
        self._prune(shelf)

    def ended(self, tenant: str) -> list[Run]:
        """Returns the runs of a tenant that have ended, newest first."""
        runs = [_read(record) for record in self.store.load(f"{OPEN}/{tenant}")]
        return sorted(runs, key=lambda run: run.started, reverse=True)

    def ended_run(self, tenant: str, run_id: str) -> Run | None:
        """Returns one of them."""
        record = self.store.get(f"{OPEN}/{tenant}", RUN, run_id)
        return None if record is None else _read(record)

    def keep(self, context: CallContext, stored: StoredPipeline) -> None:
        """Stores a version of a named pipeline.

        Raises:
            VersionConflictError: there is this version already.
        """
        tenant, name = context.principal.tenant, stored.spec.name
        key = f"{name}/{stored.version}"
        change = ControlChange(
            f"{_STORED}/{tenant}", stored.namespace, key, encode_stored(stored), 0
        )
        event = Event(
            lsn=0,
            at=stored.at,
            tenant=tenant,
            namespace=stored.namespace,
            principal=stored.author,
            operation=OPERATION,
            credential=context.principal.credential,
            request_id=context.request_id,
            detail={"pipeline": name, "version": stored.version, "state": "kept"},
        )
        self.store.commit([change], [event])

    def stored(self, tenant: str, namespace: str) -> list[StoredPipeline]:
        """Returns all versions of the pipelines of a namespace; what cannot be read is left out."""
        found = []
        for record in self.store.load(f"{_STORED}/{tenant}"):
            if record.kind != namespace:
                continue
            try:
                found.append(decode_stored(record.body))
            except StoreCorruptError as error:
                _log.error("a kept pipeline cannot be read: %s: %s", record.key, error.code)
        return found

    def last_version(self, tenant: str, namespace: str, name: str) -> int:
        """Returns the newest version number of a pipeline, readable or not; 0 for none."""
        keys = [
            record.key.rpartition("/")
            for record in self.store.load(f"{_STORED}/{tenant}")
            if record.kind == namespace
        ]
        return max((int(number) for known, _, number in keys if known == name), default=0)

    def _prune(self, shelf: str) -> None:
        records = self.store.load(shelf)
        if len(records) <= self.kept:
            return
        oldest = sorted(records, key=lambda record: _read(record).started)
        changes = [
            ControlChange(shelf, RUN, record.key, None, record.revision)
            for record in oldest[: len(records) - self.kept]
        ]
        try:
            self.store.commit(changes, [])
        except VersionConflictError:
            # Another runner was tidying up, too.
            return

    def _event(self, run: Run, step: str, state: str, detail: dict[str, str | int | None]) -> Event:
        context = run.context
        failed = run.reason is not None or detail.get("error") is not None
        return Event(
            lsn=0,
            at=self.clock.now(),
            tenant=context.principal.tenant,
            namespace=context.home,
            principal=context.principal.id,
            operation=OPERATION,
            outcome=Outcome.FAILED if failed else Outcome.DONE,
            purpose=context.purpose,
            role=context.role,
            application=context.application,
            credential=context.principal.credential,
            request_id=context.request_id,
            detail={
                "run": run.id,
                "pipeline": run.spec.name,
                "step": step or None,
                "state": state,
                **detail,
            },
        )


def runs_left(store: ControlStorePort) -> bool:
    """Tells whether runs are under way, so that a runner is needed."""
    return bool(store.load(OPEN))


def _read(record: ControlRecord) -> Run:
    try:
        return decode(record.body)
    except StoreCorruptError:
        _log.error("run %s is parked: its journal cannot be read", record.key)
        return parked(record.key, record.body)


def newest(stored: Sequence[StoredPipeline]) -> list[StoredPipeline]:
    """Returns the newest version of each pipeline, by name."""
    found: dict[str, StoredPipeline] = {}
    for one in sorted(stored, key=lambda one: one.version):
        found[one.spec.name] = one
    return [found[name] for name in sorted(found)]
