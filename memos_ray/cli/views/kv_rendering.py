"""How KV caches look to people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from memos_ray.cli.views import rendering
from memos_ray.core.activation import CacheState
from memos_ray.gateway.activation.models import Cache, CacheSource

if TYPE_CHECKING:
    from rich.console import Console

_MEANING = {
    CacheState.HOT: "in the object store: the next prompt uses it",
    CacheState.RESTING: "a file: the next prompt brings it back",
    CacheState.BUILDING: "being computed or brought back; prompts come as text meanwhile",
    CacheState.ABSENT: "not there: the next prompt comes as text, and has it computed",
    CacheState.FAILED: "could not be computed; tried again after a while",
    CacheState.EMPTY: "none of its memories is left",
}


def caches(console: Console, found: Sequence[Cache]) -> None:
    """Shows the caches of a namespace."""
    columns = "id model adapter state tokens size heat worth pinned memories"
    table = rendering.table(*columns.split())
    for one in found:
        table.add_row(
            Text(one.id),
            Text(one.model),
            "",
            one.state.value,
            str(one.tokens),
            decimal(one.size_bytes),
            f"{one.heat:.1f}",
            _number(one.worth),
            "yes" if one.pinned else "",
            str(len(one.sources)),
        )
        for other in one.adapted:
            table.add_row(
                Text(one.id),
                Text(one.model),
                Text(other.adapter_id),
                other.state.value,
                "",
                decimal(other.size_bytes),
                f"{other.heat:.1f}",
                _number(other.worth),
                "yes" if one.pinned else "",
                str(other.memories),
            )
    console.print(table)


def cache(console: Console, found: Cache) -> None:
    """Shows everything that is known of a cache."""
    table = Table.grid(padding=(0, 2))
    rows = {
        "id": found.id,
        "model": found.model,
        "namespace": found.namespace,
        "state": f"{found.state.value}: {_MEANING[found.state]}",
        "reason": found.reason,
        "tokens": str(found.tokens),
        "size": decimal(found.size_bytes),
        "computed in": None if found.build_s is None else f"{found.build_s:.2f} s",
        "heat": f"{found.heat:.2f} uses, which count for half after an hour",
        "worth": _number(found.worth) or None,
        "why": found.why,
        "pinned": "yes" if found.pinned else None,
    }
    for name, value in rows.items():
        if value is not None:
            table.add_row(Text(name, style="dim"), Text(value))
    for source in found.sources:
        table.add_row(Text("memory", style="dim"), Text(f"{source.id} {_change(source)}"))
    for other in found.adapted:
        said = f"{other.adapter_id} {other.state.value}, {other.memories} memories that it has not"
        table.add_row(Text("with adapter", style="dim"), Text(f"{said} learnt"))
    console.print(table)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _change(source: CacheSource) -> str:
    if source.current is None:
        return f"version {source.converted}, left out now"
    if source.current != source.converted:
        return f"version {source.current}, at the conversion {source.converted}"
    return f"version {source.current}"
