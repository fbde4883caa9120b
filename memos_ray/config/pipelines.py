"""Settings of pipelines."""

from __future__ import annotations

from pydantic import Field

from memos_ray.config.fields import EndpointUrl, Positive, Seconds, Section


class PipelineSettings(Section):
    """Pipelines."""

    hooks: tuple[EndpointUrl, ...] = Field(
        (),
        description="Places that pipelines may publish to, as JSON: `https://host` with everything "
        "below it, or `https://host/path`; none when empty.",
    )
    runs_max: Positive = Field(200, description="Most runs under way.")
    run_s: Seconds = Field(3600.0, description="Longest time until the last step of a run begins.")
    context_bytes: Positive = Field(
        1 << 20, description="Most text that one step puts into the context of its run."
    )
    kept: Positive = Field(200, description="Ended runs of a tenant that can still be looked at.")
