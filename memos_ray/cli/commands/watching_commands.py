"""Watch the system at work: `top`, and one memory through time: `timeline`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from memos_ray.cli.call import Call, with_service
from memos_ray.cli.values import MemoryArgument, NamespaceOption

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from memos_ray.cli.views.timeline import Timeline
    from memos_ray.gateway.memories.record_models import Component, Health

_MIB = float(1 << 20)
_SIZES = ("rss_bytes", "resident_bytes", "kv_bytes", "kv_rest_bytes")
_HOLDINGS = ("partitions", "resident_memories", "conversations")
_QUEUES = ("queued", "lag", "index_lag", "behind_s", "aside", "extraction_queued")
_RATES = ("writes", "reads", "searches", "kv_hits", "kv_misses", "kv_builds", "kv_evictions")
# Of what was needed, what was at hand.
_SHARES = {
    "kv": ("kv_hits", ("kv_hits", "kv_misses")),
    "preload": ("preload_hits", ("preload_needed",)),
}
_COLOURS = {"ok": "green", "degraded": "yellow", "down": "red"}


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command(rich_help_panel="The cluster")(top)
    app.command(rich_help_panel="Versions and audit")(timeline)


@with_service
def top(
    call: Call,
    interval_s: Annotated[
        float, typer.Option("--interval", min=0.1, help="Seconds between two looks.")
    ] = 2.0,
    looks: Annotated[
        int | None, typer.Option("--looks", min=1, help="How many; until Ctrl-C when absent.")
    ] = None,
) -> None:
    """Shows what the parts hold, what waits and how much is done, again and again.

    Rates are per second since the look before; hits are shares of all that was needed since the
    start. With `--json` it is one look, without rates.
    """
    if call.out.as_json:
        call.out.show(call.health(), lambda _: None)
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(highlight=False), auto_refresh=False) as live:
        before: Mapping[str, Mapping[str, float]] = {}
        for number, seen in enumerate(_looks(call, interval_s, looks)):
            live.update(_parts(seen, before, interval_s if number else None), refresh=True)
            before = {part.name: _numbers(part) for part in seen.components}


@with_service
def timeline(call: Call, id: MemoryArgument, namespace: NamespaceOption = None) -> None:
    """Shows all that has happened to a memory, and what has been made of it."""
    from memos_ray.cli.views.timeline import timeline as collected

    found = collected(call.memos, id, namespace)
    call.out.show(found, lambda console: _moments(console, found))


def _looks(call: Call, interval_s: float, looks: int | None) -> Iterator[Health]:
    taken = 0
    try:
        while looks is None or taken < looks:
            if taken:
                time.sleep(interval_s)
            yield call.health()
            taken += 1
    except KeyboardInterrupt:
        return


def _numbers(part: Component) -> Mapping[str, float]:
    return {name: value for name, value in part.detail.items() if isinstance(value, int | float)}


def _parts(
    health: Health, before: Mapping[str, Mapping[str, float]], since_s: float | None
) -> Table:
    from rich.table import Table
    from rich.text import Text

    title = f"memos-ray {health.version}: {health.status}"
    table = Table("part", "MiB", "holds", "waits", "hits", "per second", title=title)
    for part in health.components:
        now, then = _numbers(part), before.get(part.name, {})
        sizes = [(_label(name), now[name] / _MIB) for name in _SIZES if name in now]
        holds = [(_label(name), now[name]) for name in _HOLDINGS if name in now]
        waits = [(_label(name), now[name]) for name in _QUEUES if now.get(name)]
        rates = [
            f"{_label(name)} {max(0.0, now[name] - then.get(name, 0.0)) / since_s:.1f}"
            for name in _RATES
            if since_s and name in now
        ]
        hits = [
            f"{what} {now.get(hit, 0.0) / needed:.0%}"
            for what, (hit, all) in _SHARES.items()
            if (needed := sum(now.get(one, 0.0) for one in all))
        ]
        name = Text(part.name, style=_COLOURS[part.status])
        counts = [
            "\n".join(f"{what} {count:.0f}" for what, count in cells)
            for cells in (sizes, holds, waits)
        ]
        table.add_row(name, *counts, "\n".join(hits), "\n".join(rates))
    return table


def _label(name: str) -> str:
    return name.removesuffix("_bytes").replace("_", " ")


def _moments(console: Console, found: Timeline) -> None:
    from memos_ray.cli.views import rendering

    rendering.rows(
        console,
        ("at", "what", "version", "who", "outcome", "reason", "purpose", "request"),
        [
            (
                f"{one.at:%Y-%m-%d %H:%M:%S}",
                *(one.what, one.version, one.who, one.outcome),
                *(one.reason, one.purpose, one.request_id),
            )
            for one in found.moments
        ],
    )
    if found.sources:
        rendering.rows(
            console,
            ("made of", "version"),
            [(one.memory_id or one.uri or one.item, one.version) for one in found.sources],
        )
    if found.made:
        rendering.rows(
            console,
            ("made of it", "form", "model", "state", "from version"),
            [(one.id, one.form, one.model, one.state, one.version) for one in found.made],
        )
