"""Bulk writes in which each item stands for itself, a malformed one included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from memos_ray.errors import MemosError
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.memories import mapping
from memos_ray.gateway.memories.models import NewMemory, WriteReport, WriteResult
from memos_ray.gateway.memories.service import MemoryService
from memos_ray.gateway.problems import error_of_validation


def parse_memory(value: object, place: tuple[str, ...] = ()) -> NewMemory:
    """Reads one memory.

    Raises:
        InvalidInputError: it does not fit the model; says where.
    """
    if isinstance(value, NewMemory):
        return value
    try:
        return NewMemory.model_validate(value)
    except ValidationError as error:
        raise error_of_validation(error, place) from None


async def add_each(
    service: MemoryService,
    caller: Caller,
    items: Sequence[NewMemory | Mapping[str, Any]],
    namespace: str | None,
) -> WriteReport:
    """Stores the items that are valid; the others' results say what is wrong with them."""
    results: list[WriteResult] = [WriteResult()] * len(items)
    memories: list[NewMemory] = []
    places: list[int] = []
    for index, item in enumerate(items):
        try:
            memories.append(parse_memory(item, ("memories", str(index))))
            places.append(index)
        except MemosError as error:
            results[index] = WriteResult(error=mapping.problem_of(error, caller.request_id))
    report = await service.add(caller, memories, namespace)
    for index, result in zip(places, report.results, strict=True):
        results[index] = result
    return WriteReport(results=results, token=report.token)
