"""How proposals look to people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from memos_ray.cli.views import rendering
from memos_ray.gateway.parameter.proposal_models import Proposal

if TYPE_CHECKING:
    from rich.console import Console

_DAY_S = 86_400.0


def proposals(console: Console, found: Sequence[Proposal]) -> None:
    """Shows proposals, with their memories and reasons."""
    if not found:
        console.print("Nothing is proposed.")
    for one in found:
        console.print(Text(f"{one.id}: for {one.model}, since {one.since:%Y-%m-%d %H:%M}"))
        for reason in one.reasons:
            console.print(Text(f"- {reason}"))
        table = rendering.table(
            "memory", "uses", "conversations", "tokens", "unchanged", "saves", ""
        )
        for memory in one.memories:
            table.add_row(
                Text(f"{memory.id} v{memory.version}"),
                f"{memory.uses:.1f}",
                str(memory.conversations),
                str(memory.tokens),
                f"{memory.settled_s / _DAY_S:.1f} d",
                f"{memory.saved_s:.1f} s",
                "learnt" if memory.learnt else "",
            )
        console.print(table)
