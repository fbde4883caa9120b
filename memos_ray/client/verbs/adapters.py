"""What models learn: `memos.adapters`."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from memos_ray.client.arguments import check, valid
from memos_ray.client.verbs.peft_folders import read_folder, write_folder
from memos_ray.client.waiting import seen
from memos_ray.core.parameter import FusionMethod, ProbingState, TeachingState
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.parameter.models import (
    ExternaliseResult,
    Externalising,
    LessonReport,
    Merging,
    Teaching,
)
from memos_ray.gateway.parameter.proposal_models import Proposal

if TYPE_CHECKING:
    from memos_ray.client.http.parameter import HttpParameter
    from memos_ray.gateway.parameter.service import ParameterService

_LOOK_S = 1.0


class AsyncAdapters:
    """Lessons of models, and the LoRA adapters that they lead to."""

    def __init__(
        self,
        api: HttpParameter | ParameterService,
        caller: Callable[[], Caller],
        only_model: Callable[[], Awaitable[str]],
    ) -> None:
        self._api = api
        self._caller = caller
        self._only_model = only_model

    async def teach(
        self, ids: Sequence[str], model: str | None = None, *, namespace: str | None = None
    ) -> LessonReport:
        """Begins to teach a model memories of a namespace; returns at once. See `wait`.

        Args:
            model: may be left out where there is only one.
        """
        chosen = model or await self._only_model()
        wanted = valid(Teaching, ids=list(ids), model=chosen, namespace=namespace)
        return await self._api.teach(self._caller(), wanted)

    async def merge(
        self,
        ids: Sequence[str],
        *,
        method: FusionMethod | str = FusionMethod.SVD,
        weights: Sequence[float] = (),
        density: float | None = None,
        namespace: str | None = None,
    ) -> LessonReport:
        """Begins to combine live adapters of a namespace into one; returns at once. See `wait`.

        Args:
            weights: of each adapter; 1 when there are none.
            density: share of the changes that `ties` and `dare` keep; 0.7 and 0.9 when
                absent.
        """
        wanted = valid(
            Merging,
            ids=list(ids),
            method=method,
            weights=list(weights),
            density=density,
            namespace=namespace,
        )
        return await self._api.merge(self._caller(), wanted)

    async def import_folder(
        self,
        folder: str | Path,
        sources: Sequence[str],
        model: str | None = None,
        *,
        namespace: str | None = None,
    ) -> LessonReport:
        """Begins to check an adapter in a folder as PEFT writes it; returns at once. See `wait`.

        Args:
            sources: the memories that it is about: it is used, and goes, with them.
            model: may be left out where there is only one.

        Raises:
            NotFoundError: a file, a memory or the model is missing.
            InvalidInputError: it is pickled, or no plain LoRA adapter.
        """
        config, tensors = await asyncio.to_thread(read_folder, Path(folder))
        chosen = model or await self._only_model()
        wanted = valid(Teaching, ids=list(sources), model=chosen, namespace=namespace)
        return await self._api.bring(self._caller(), wanted, config, tensors)

    async def export_folder(
        self, id: str, folder: str | Path, *, namespace: str | None = None
    ) -> None:
        """Writes an adapter into an empty folder, or a new one, that PEFT loads.

        Raises:
            NotFoundError: there is no such adapter.
            IllegalStateError: a memory that it has learnt does not hold any more.
            InvalidInputError: the folder has files already.
        """
        check(id=id, namespace=namespace)
        files = await self._api.files(self._caller(), id, namespace)
        async with aclosing(files.tensors):
            await write_folder(Path(folder), files)

    async def proposals(self, namespace: str | None = None) -> builtins.list[Proposal]:
        """Returns what models should learn of a namespace, by what is used, with the reasons."""
        check(namespace=namespace)
        return (await self._api.proposals(self._caller(), namespace)).proposals

    async def accept(self, id: str, *, namespace: str | None = None) -> LessonReport:
        """Begins the lesson that is proposed; returns at once. See `wait`.

        Raises:
            NotFoundError: there is no such proposal, or not any more.
        """
        check(id=id, namespace=namespace)
        return await self._api.accept(self._caller(), id, namespace)

    async def refuse(self, id: str, *, namespace: str | None = None) -> Proposal:
        """Has a proposal go, and nothing like it come again; returns what was proposed.

        Raises:
            NotFoundError: there is no such proposal, or not any more.
        """
        check(id=id, namespace=namespace)
        return await self._api.refuse(self._caller(), id, namespace)

    async def list(self, namespace: str | None = None) -> list[LessonReport]:
        """Returns the lessons and adapters of a namespace."""
        check(namespace=namespace)
        return (await self._api.lessons(self._caller(), namespace)).lessons

    async def get(self, id: str, *, namespace: str | None = None) -> LessonReport:
        """Returns a lesson, with the report of its adapter."""
        check(id=id, namespace=namespace)
        return await self._api.lesson(self._caller(), id, namespace)

    async def cancel(self, id: str, *, namespace: str | None = None) -> LessonReport:
        """Ends a lesson; one that has ended is left as it is."""
        check(id=id, namespace=namespace)
        return await self._api.cancel(self._caller(), id, namespace)

    async def externalise(
        self, id: str, *, namespace: str | None = None, probe: bool = True
    ) -> ExternaliseResult:
        """Makes editable plaintext memories from an adapter; called again, it makes nothing new.

        Args:
            probe: whether the model is asked, too, beside what the adapter was taught; returns
                when it has answered.
        """
        check(id=id, namespace=namespace)
        how = Externalising(probe=probe)
        while True:
            found = await self._api.externalise(self._caller(), id, how, namespace)
            if found.probing is not ProbingState.RUNNING:
                return found
            await asyncio.sleep(_LOOK_S)

    async def wait(
        self,
        id: str,
        *,
        namespace: str | None = None,
        progress: Callable[[LessonReport], None] | None = None,
    ) -> LessonReport:
        """Returns when a lesson has ended, whatever became of it.

        A service that is away meanwhile, for less than some minutes, does not end the wait.

        Args:
            progress: called about once a second meanwhile.
        """
        look = partial(self.get, id, namespace=namespace)
        while (lesson := await seen(look)).state is TeachingState.TRAINING:
            if progress is not None:
                progress(lesson)
            await asyncio.sleep(_LOOK_S)
        return lesson
