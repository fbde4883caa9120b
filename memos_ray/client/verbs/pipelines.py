"""Pipelines: `memos.pipelines`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from memos_ray.client.arguments import check, valid
from memos_ray.client.verbs.pipeline_builder import Pipeline
from memos_ray.client.waiting import seen
from memos_ray.core.pipeline.definition import PipelineSpec, Scalar, read_definition
from memos_ray.core.pipeline.run import ENDED
from memos_ray.errors import InvalidInputError, NotFoundError
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.pipelines.models import (
    PipelineOrder,
    RunReport,
    RunRequest,
    StoredPipelineInfo,
)

if TYPE_CHECKING:
    from memos_ray.client.http.pipelines import HttpPipelines
    from memos_ray.gateway.pipelines.service import PipelineService

Definition = Pipeline | PipelineSpec | Mapping[str, Any] | Path

_LOOK_S = 0.2
_FILE_MAX = 1 << 20


def definition_of(source: Definition) -> PipelineSpec:
    """Returns a pipeline: as built, as a mapping, or read from a YAML file.

    Raises:
        InvalidInputError: it is not sound, or the file is no YAML.
        NotFoundError: there is no such file.
    """
    match source:
        case Pipeline():
            return source.build()
        case PipelineSpec():
            return source
        case Path():
            return read_definition(_yaml(source))
        case _:
            return read_definition(dict(source))


def _yaml(path: Path) -> object:
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise NotFoundError("there is no such file", file=str(path)) from None
    except (OSError, UnicodeDecodeError):
        raise InvalidInputError("the file cannot be read as text", file=str(path)) from None
    if len(text) > _FILE_MAX:
        raise InvalidInputError("the file is too long for a pipeline", file=str(path))
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise InvalidInputError("the file is no YAML", file=str(path)) from None


class AsyncPipelines:
    """Pipelines, and their runs."""

    def __init__(self, api: HttpPipelines | PipelineService, caller: Callable[[], Caller]) -> None:
        self._api = api
        self._caller = caller

    async def validate(self, pipeline: Definition) -> PipelineOrder:
        """Describes a sound pipeline, and what a run would fail of now; runs nothing."""
        return await self._api.validate(self._caller(), definition_of(pipeline))

    async def run(
        self,
        pipeline: Definition | str,
        *,
        params: Mapping[str, Scalar] | None = None,
        namespace: str | None = None,
        version: int | None = None,
        idempotency_key: str | None = None,
    ) -> RunReport:
        """Begins a run; returns at once. See `wait`.

        Args:
            pipeline: one to run as it stands, or the name of a stored one in `namespace`, the
                caller's own home when absent.
            params: values of its parameters.
            idempotency_key: with the same key, the same run is returned.
        """
        named = isinstance(pipeline, str)
        wanted = valid(
            RunRequest,
            definition=None if isinstance(pipeline, str) else definition_of(pipeline),
            template=pipeline if named else None,
            version=version,
            namespace=namespace,
            params=dict(params or {}),
            idempotency_key=idempotency_key,
        )
        return await self._api.run(self._caller(), wanted)

    async def status(self, id: str) -> RunReport:
        """Returns a run, step by step."""
        check(id=id)
        return await self._api.status(self._caller(), id)

    async def list(self) -> list[RunReport]:
        """Returns the caller's runs, newest first."""
        return (await self._api.runs(self._caller())).runs

    async def cancel(self, id: str) -> RunReport:
        """Ends a run before it commits; one that has ended is left as it is."""
        check(id=id)
        return await self._api.cancel(self._caller(), id)

    async def wait(self, id: str) -> RunReport:
        """Returns when a run has ended, whatever became of it.

        A service that is away meanwhile, for less than some minutes, does not end the wait.
        """
        look = partial(self.status, id)
        run = await seen(look)
        while run.state not in ENDED:
            await asyncio.sleep(_LOOK_S)
            run = await seen(look)
        return run

    async def keep(
        self, pipeline: Definition, *, namespace: str | None = None
    ) -> StoredPipelineInfo:
        """Stores a new version of a pipeline under its name."""
        check(namespace=namespace)
        spec = definition_of(pipeline)
        return await self._api.keep(self._caller(), spec.name, spec, namespace)

    async def templates(self, namespace: str | None = None) -> Sequence[StoredPipelineInfo]:
        """Returns the newest version of each pipeline of a namespace."""
        check(namespace=namespace)
        return (await self._api.templates(self._caller(), namespace)).pipelines
