"""Settings of the lifecycle."""

from __future__ import annotations

from pydantic import Field

from memos_ray.config.fields import Positive, Seconds, Section


class LifecycleSettings(Section):
    """How memories age. What is not set never happens."""

    enabled: bool = Field(True, description="Whether memories are swept by themselves.")
    pause_s: Seconds = Field(300.0, description="Pause between two sweeps over all memories.")
    batch: Positive = Field(
        16384, le=65536, description="Most memories that a shard looks at in one piece of a sweep."
    )
    cold_heat: float = Field(
        0.05,
        ge=0,
        description="Heat below which a memory with a half-life is archived: 1 when it was made, "
        "more with each use, half of it lost in every half-life without one.",
    )
    unused_s: Seconds | None = Field(
        None, description="A memory that nobody has read or changed for this long is archived."
    )
    deleted_s: Seconds | None = Field(
        None, description="A deleted memory is erased for good after this long."
    )
    expired_s: Seconds | None = Field(
        None, description="An expired memory is erased for good after this long."
    )
    receipts_s: Seconds | None = Field(
        None,
        description="The receipt of memories that a sweep has erased is forgotten after this long; "
        "those of erasures that somebody asked for are kept.",
    )
