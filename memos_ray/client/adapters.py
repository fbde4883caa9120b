"""What models learn: `memos.adapters`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from memos_ray.client.arguments import check, valid
from memos_ray.client.loop_thread import LoopThread
from memos_ray.client.transport import ParameterApi
from memos_ray.core.parameter import ProbingState, TeachingState
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.parameter_models import (
    ExternaliseResult,
    Externalising,
    LessonReport,
    Teaching,
)

_LOOK_S = 1.0


class AsyncAdapters:
    """Lessons of models, and the LoRA adapters that they lead to."""

    def __init__(
        self,
        api: ParameterApi,
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

        Args:
            progress: called about once a second meanwhile.
        """
        while (lesson := await self.get(id, namespace=namespace)).state is TeachingState.TRAINING:
            if progress is not None:
                progress(lesson)
            await asyncio.sleep(_LOOK_S)
        return lesson


class Adapters:
    """Lessons of models, and the adapters that they lead to; see `AsyncAdapters`."""

    def __init__(self, adapters: AsyncAdapters, loop: LoopThread) -> None:
        self._async = adapters
        self._loop = loop

    def teach(
        self, ids: Sequence[str], model: str | None = None, *, namespace: str | None = None
    ) -> LessonReport:
        """Begins to teach a model memories of a namespace; see `AsyncAdapters.teach`."""
        return self._loop.run(self._async.teach(ids, model, namespace=namespace))

    def list(self, namespace: str | None = None) -> list[LessonReport]:
        """Returns the lessons and adapters of a namespace."""
        return self._loop.run(self._async.list(namespace))

    def get(self, id: str, *, namespace: str | None = None) -> LessonReport:
        """Returns a lesson, with the report of its adapter."""
        return self._loop.run(self._async.get(id, namespace=namespace))

    def cancel(self, id: str, *, namespace: str | None = None) -> LessonReport:
        """Ends a lesson; one that has ended is left as it is."""
        return self._loop.run(self._async.cancel(id, namespace=namespace))

    def externalise(
        self, id: str, *, namespace: str | None = None, probe: bool = True
    ) -> ExternaliseResult:
        """Makes plaintext memories from an adapter; see `AsyncAdapters.externalise`."""
        return self._loop.run(self._async.externalise(id, namespace=namespace, probe=probe))

    def wait(
        self,
        id: str,
        *,
        namespace: str | None = None,
        progress: Callable[[LessonReport], None] | None = None,
    ) -> LessonReport:
        """Returns when a lesson has ended; see `AsyncAdapters.wait`."""
        return self._loop.run(self._async.wait(id, namespace=namespace, progress=progress))
