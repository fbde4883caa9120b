"""Has erasures reach the journals of runs (GOV-9)."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from memos_ray.actors.pipelines.journal import OPEN, OPERATION, RUN
from memos_ray.core.lifecycle.sweeping import LIFECYCLE
from memos_ray.core.pipeline.emptying import EMPTIED, emptied, holds_texts, mentions, met, names_in
from memos_ray.core.pipeline.run import decode, parked
from memos_ray.core.vault.log import ControlChange, ControlRecord, Event
from memos_ray.errors import StoreCorruptError, VersionConflictError
from memos_ray.ports import ClockPort, ControlStorePort

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunJournals:
    """Empties the journals of parked runs. Implements `ports.RunJournalsPort`.

    A run that is under way forgets by itself what it has read, at its end or its deadline.

    Concurrency: methods block; called from worker threads.
    """

    store: ControlStorePort
    clock: ClockPort
    counters: Counter[str] = field(default_factory=Counter)

    def holding(self, erased: Sequence[tuple[str, Collection[str]]]) -> list[bool]:
        """Empties what can be; see `RunJournalsPort`."""
        found = [False] * len(erased)
        for record in self.store.load(OPEN):
            # Once for all erasures: there may be many, and a journal may be long.
            names = names_in(record.body)
            for place, (tenant, ids) in enumerate(erased):
                if mentions(names, ids) and self._holds(record, tenant, ids):
                    found[place] = True
        return found

    def _holds(self, record: ControlRecord, tenant: str, ids: Collection[str]) -> bool:
        try:
            run = decode(record.body)
        except StoreCorruptError:
            whose = parked(record.key, record.body).context.principal.tenant
            return whose in ("", tenant) and not self._empty(record, whose)
        own = run.context.principal.tenant == tenant
        return own and holds_texts(run) and not met(run).isdisjoint(ids)

    def _empty(self, record: ControlRecord, tenant: str) -> bool:
        """Empties a journal; tells whether it is empty now."""
        body = emptied(record.key, record.body)
        change = ControlChange(OPEN, RUN, record.key, body, record.revision)
        event = Event(
            lsn=0,
            at=self.clock.now(),
            tenant=tenant,
            namespace="",
            principal=LIFECYCLE,
            operation=OPERATION,
            detail={"run": record.key, "state": EMPTIED, "cause": "erasure"},
        )
        try:
            self.store.commit([change], [event] if tenant else [])
        except VersionConflictError:
            # Somebody else was faster, with whatever; the next look tells.
            return False
        self.counters["journals_emptied"] += 1
        _log.warning("the journal of parked run %s held an erased memory; it is empty", record.key)
        return True
