"""Takes what a journal holds of erased memories out of it (GOV-9). Pure."""

from __future__ import annotations

from collections.abc import Collection

import orjson
from pydantic import TypeAdapter

from memos_ray.core.access.context import CallContext
from memos_ray.core.pipeline.run import Run, RunState, parked

EMPTIED = "emptied"
_CONTEXT: TypeAdapter[CallContext] = TypeAdapter(CallContext)


def mentions(body: bytes, ids: Collection[str]) -> bool:
    """Tells whether a journal may hold something of memories.

    A run names the memories that it has met, whatever it has made of them. What is no document at
    all can neither be searched nor read by anybody.
    """
    try:
        flat = orjson.loads(body)
    except orjson.JSONDecodeError:
        return bool(body)
    if isinstance(flat, dict) and flat.get(EMPTIED):
        return False
    return any(orjson.dumps(one) in body for one in ids)


def holds_texts(run: Run) -> bool:
    """Tells whether a run holds anything that it has read or made."""
    return any(
        record.texts or record.follow is not None or any(one.text for one in record.effects)
        for record in run.steps.values()
    )


def emptied(run_id: str, body: bytes) -> bytes:
    """Returns the journal of a parked run without anything that it has read or made.

    Whose it is, what it was to do and when it began stay; it can never go on.
    """
    run = parked(run_id, body)
    return orjson.dumps(
        {
            EMPTIED: True,
            "context": _CONTEXT.dump_python(run.context, mode="json"),
            "spec": run.spec.model_dump(mode="json"),
            "started": run.started.isoformat(),
            "state": RunState.PARKED.value,
        }
    )
