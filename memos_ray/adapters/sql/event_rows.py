"""Turns log entries into rows, rows into them, and what is asked of a log into conditions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import orjson
from sqlalchemy import false, literal, or_, select

from memos_ray.adapters.sql.rows import AnyRow, InOrder, micros
from memos_ray.adapters.sql.schema import access, cube
from memos_ray.core.cube.facets import from_micros, to_micros
from memos_ray.core.vault import storable
from memos_ray.core.vault.log import Event, Outcome
from memos_ray.ports import EventQuery

_NO_DETAIL = "{}"
# What one call did, is of one moment.
_moment = lru_cache(maxsize=16)(from_micros)
_OUTCOMES: Mapping[str, Outcome] = {outcome.value: outcome for outcome in Outcome}


def event_rows(partition: int | None, told: Iterable[tuple[int, Event]]) -> list[InOrder]:
    """Builds rows of `event`, `access` or, without a partition, `control_event`: all columns.

    Args:
        told: entries with their LSNs.

    Raises:
        InvalidInputError: when a field holds text that a store cannot.
    """
    place = () if partition is None else (partition,)
    details: dict[int, str] = {}
    rows: list[InOrder] = []
    for lsn, event in told:
        storable.check_event(event)
        detail = _NO_DETAIL
        if event.detail:
            # Entries of one commit share what they tell.
            known = details.get(id(event.detail))
            if known is None:
                known = details[id(event.detail)] = orjson.dumps(dict(event.detail)).decode()
            detail = known
        who = event.tenant, event.namespace, event.principal, event.operation
        what = event.cube_id, event.version, event.outcome.value
        how = event.purpose, event.role, event.application
        call = event.credential, event.request_id, detail
        rows.append((*place, lsn, micros(event.at), *who, *what, *how, *call))
    return rows


def event_of(row: AnyRow) -> Event:
    """Rebuilds a log entry from its row, with or without a partition in front."""
    (
        lsn,
        at,
        tenant,
        namespace,
        principal,
        operation,
        cube_id,
        version,
        outcome,
        purpose,
        role,
        application,
        credential,
        request_id,
        detail,
    ) = row[-15:]
    return Event(
        lsn,
        _moment(at),
        tenant,
        namespace,
        principal,
        operation,
        cube_id,
        version,
        _OUTCOMES[outcome],
        purpose,
        role,
        application,
        credential,
        request_id,
        orjson.loads(detail),
    )


def event_conditions(table: Any, query: EventQuery | None) -> Iterable[Any]:
    """Compiles a log filter to conditions on one of the three log tables."""
    if query is None:
        return
    for name in ("tenant", "namespace", "principal", "operation", "request_id", "outcome"):
        value = getattr(query, name)
        if value is not None:
            storable.check_texts(**{name: value})
            yield table.c[name] == value
    if query.cube_id is not None:
        storable.check_texts(cube_id=query.cube_id)
        yield _about(table, query.cube_id)
    if query.form is not None:
        yield _in_form(table, query.form)
    if query.through is not None:
        yield table.c.lsn <= query.through
    if query.since is not None:
        yield table.c.at >= to_micros(query.since)
    if query.until is not None:
        yield table.c.at < to_micros(query.until)


def _about(table: Any, cube_id: str) -> Any:
    """A condition for entries about a memory; those of reads may name several in their detail."""
    exact = table.c.cube_id == cube_id
    if table is not access:
        return exact
    written = orjson.dumps(cube_id).decode()[1:-1]
    named = (f'"memories":"{written}"', f'"memories":"{written} ', f" {written} ", f' {written}"')
    return or_(exact, *(table.c.detail.contains(part, autoescape=True) for part in named))


def _in_form(table: Any, form: str) -> Any:
    """A condition for entries about one memory that is in a form now."""
    if "partition" not in table.c:
        return false()
    held = select(literal(1)).where(
        cube.c.partition == table.c.partition,
        cube.c.tenant == table.c.tenant,
        cube.c.id == table.c.cube_id,
        cube.c.form == form,
    )
    return held.exists()
