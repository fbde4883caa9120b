"""Takes what a journal holds of erased memories out of it (GOV-9). Pure."""

from __future__ import annotations

from collections.abc import Collection, Container

import orjson
from pydantic import TypeAdapter

from memos_ray.core.access.context import CallContext
from memos_ray.core.pipeline.run import Run, RunState, parked

EMPTIED = "emptied"
_NO_IDS = frozenset(
    (
        # What stays when a journal is emptied.
        *("context", "spec", "started", "deadline"),
        # Words of the format's own, and names of other things than memories.
        *("state", "kind", "mode", "semantic_type", "step", "followed", "namespace", "digest"),
        *("error", "reason", "message", "model", "url"),
    )
)
"""Fields of a journal whose values name no memory, though an id may be the same word."""

_CONTEXT: TypeAdapter[CallContext] = TypeAdapter(CallContext)


class _Anything:
    """What cannot be read may hold every name."""

    def __contains__(self, name: object) -> bool:
        return True


def names_in(body: bytes) -> Container[str]:
    """Returns which memories a journal may hold something of.

    A run names the memories that it has met, whatever it has made of them, and by their whole ids:
    neither what its fields are called is one, nor what is said of its state. What is no document at
    all can neither be searched nor read by anybody.
    """
    try:
        flat = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _Anything() if body else ()
    if isinstance(flat, dict) and flat.get(EMPTIED):
        return ()
    names: set[str] = set()
    left = [flat]
    while left:
        match left.pop():
            case str(name):
                names.add(name)
            case dict(parts):
                left += (part for name, part in parts.items() if name not in _NO_IDS)
            case list(parts):
                left += parts
    return names


def mentions(names: Container[str], ids: Collection[str]) -> bool:
    """Tells whether a journal with these names may hold something of memories."""
    return any(one in names for one in ids)


def met(run: Run) -> set[str]:
    """Returns the ids of the memories that a run has met, or is about to write."""
    ids: set[str] = set()
    for record in run.steps.values():
        ids.update(ref.cube_id for ref in record.memories)
        for effect in record.effects:
            ids.update((effect.cube_id, *(id for id, _ in effect.sources)))
        if record.follow is not None:
            ids.update((record.follow.minted_id, *record.follow.ids))
    return ids


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
