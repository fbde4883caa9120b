"""What receipts are made of: erasures in the log, and rows that are left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from memos_ray.actors.vault.remains import RowLeft
from memos_ray.core.lifecycle.moves import Cause
from memos_ray.core.vault.log import ERASE, CubeKey, Event, Outcome
from memos_ray.core.vault.receipts import Derived, ErasedThing, Receipt


def is_erasure(event: Event) -> bool:
    """Tells whether a log entry is that of an erasure."""
    return event.operation == ERASE and event.outcome is Outcome.DONE and event.cube_id is not None


def is_collected(event: Event) -> bool:
    """Tells whether an erasure was nobody's wish: of a sweep, or of a branch that ends."""
    return event.detail.get("cause") in (Cause.RETENTION.value, Cause.BRANCH.value)


def together(erasures: Iterable[Event]) -> Iterator[list[Event]]:
    """Groups what a sweep has collected, by tenant and namespace; all else stays alone."""
    swept: dict[tuple[str, str], list[Event]] = {}
    for event in erasures:
        if is_collected(event):
            swept.setdefault((event.tenant, event.namespace), []).append(event)
        else:
            yield [event]
    yield from swept.values()


def newest_about(receipts: Iterable[Receipt], key: CubeKey) -> Receipt | None:
    """Returns the newest receipt of a memory, which may have been erased more than once."""
    found = [one for one in receipts if one.tenant == key.tenant and key.id in one.erased]
    return max(found, key=lambda one: one.lsn, default=None)


def with_rows(receipt: Receipt, rows: Iterable[RowLeft]) -> Receipt:
    """Adds what has a row that names the memory."""
    known = {(thing.kind, thing.name) for thing in receipt.things}
    erased = frozenset(receipt.erased)
    more = [
        row.thing
        for row in rows
        if row.tenant == receipt.tenant
        and not erased.isdisjoint(row.ids)
        and (row.thing.kind, row.thing.name) not in known
    ]
    return replace(receipt, things=(*receipt.things, *more))


def listing(receipt: Receipt, texts: Iterable[str]) -> Receipt:
    """Adds what adapters that had learnt the memory were turned back into."""
    things = (ErasedThing(Derived.EXTERNALISED, id) for id in texts)
    known = {(thing.kind, thing.name) for thing in receipt.things}
    more = [thing for thing in things if (thing.kind, thing.name) not in known]
    return replace(receipt, things=(*receipt.things, *more))
