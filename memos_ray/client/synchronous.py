"""The synchronous client: the asynchronous one on a loop in a thread of its own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, overload

from memos_ray.client.adapters import Adapters
from memos_ray.client.asynchronous import AsyncMemOS
from memos_ray.client.branches import Branches
from memos_ray.client.browsing import Graph, Topics
from memos_ray.client.conversations import Messages
from memos_ray.client.evolution import Evolution
from memos_ray.client.extraction import ExtractionVerbs
from memos_ray.client.kv import Kv
from memos_ray.client.lifecycle import LifecycleVerbs
from memos_ray.client.loop_thread import LoopThread
from memos_ray.client.opening import open_transport
from memos_ray.client.organising import Organise
from memos_ray.client.past import Past
from memos_ray.client.personas import Personas
from memos_ray.client.pipelines import Pipelines
from memos_ray.client.sources import Sources
from memos_ray.client.synchronous_admin import Admin
from memos_ray.config import Settings
from memos_ray.core.cube.metadata import Visibility
from memos_ray.core.vault.operations import UpdateMode
from memos_ray.gateway.admin.models import Who
from memos_ray.gateway.chat.models import ChatAnswer, ChatEvent
from memos_ray.gateway.evolution.models import FeedbackResult
from memos_ray.gateway.memories.bodies import IngestReport
from memos_ray.gateway.memories.ingestion import Progress
from memos_ray.gateway.memories.models import (
    Memory,
    MemoryPage,
    NewMemory,
    SearchQuery,
    SearchResult,
    WriteReport,
    WriteResult,
)
from memos_ray.gateway.memories.record_models import Diff, Health, History, LogPage
from memos_ray.gateway.memories.understanding_models import Question, Understanding
from memos_ray.gateway.records.provenance_models import Provenance
from memos_ray.gateway.records.receipt_models import ErasureReceipt
from memos_ray.gateway.reuse.models import ReuseResult

T = TypeVar("T")
Self = TypeVar("Self", bound="MemOS")

_PAGE = 200


class MemOS:
    """A client of the memory service, safe to use from many threads; see `AsyncMemOS`.

    Connects at once. Concurrent calls share few round trips to the shards.
    """

    def __init__(
        self,
        *,
        data: Path | str | None = None,
        address: str | None = None,
        url: str | None = None,
        api_key: str | None = None,
        settings: Settings | None = None,
        purpose: str | None = None,
        role: str | None = None,
        application: str | None = None,
    ) -> None:
        # Ray starts from the caller's thread, as its signal handlers want it.
        opened = open_transport(data, address, url, api_key, settings)
        self._async = AsyncMemOS(purpose=purpose, role=role, application=application)
        self._async.attach(opened, owns=True)
        self._loop = LoopThread()
        self._owns_loop = True

    @property
    def admin(self) -> Admin:
        """Principals, keys, grants, namespaces and the rest of policy."""
        return Admin(self._async.admin, self._loop)

    def receipt(self, id: str, *, namespace: str | None = None) -> ErasureReceipt:
        """Says what the erasure of a memory has retired; see `AsyncMemOS.receipt`."""
        return self._loop.run(self._async.receipt(id, namespace=namespace))

    @property
    def adapters(self) -> Adapters:
        """What models have learnt of memories, and lessons."""
        return Adapters(self._async.adapters, self._loop)

    @property
    def pipelines(self) -> Pipelines:
        """Memory pipelines and their runs."""
        return Pipelines(self._async.pipelines, self._loop)

    @property
    def kv(self) -> Kv:
        """The KV caches of activation memories."""
        return Kv(self._async.kv, self._loop)

    @property
    def organise(self) -> Organise:
        """Duplicates, and facts that newer ones have overtaken."""
        return Organise(self._async.organise, self._loop)

    @property
    def personas(self) -> Personas[MemOS]:
        """The caller's roles, each with a memory stream of its own."""
        return Personas(self._async.personas, self._loop, lambda role: self.using(role=role))

    @property
    def sources(self) -> Sources:
        """Authoritative documents, and what they supersede."""
        return Sources(self._async.sources, self._loop)

    @property
    def evolution(self) -> Evolution:
        """Splits and summaries that the use of memories suggests."""
        return Evolution(self._async.evolution, self._loop)

    def feedback(self, **said: Any) -> FeedbackResult:
        """Keeps whether a memory or an answer was useful; see `AsyncMemOS.feedback`."""
        return self._loop.run(self._async.feedback(**said))

    @property
    def topics(self) -> Topics:
        """What memories are about."""
        return Topics(self._async.topics, self._loop)

    @property
    def graph(self) -> Graph:
        """What memories have to do with one another."""
        return Graph(self._async.graph, self._loop)

    @property
    def extraction(self) -> ExtractionVerbs:
        """What a model extracts from memories that are stored with `extract`."""
        return ExtractionVerbs(self._async.extraction, self._loop)

    @property
    def lifecycle(self) -> LifecycleVerbs:
        """How memories age, and what is put away."""
        return LifecycleVerbs(self._async.lifecycle, self._loop)

    @property
    def past(self) -> Past:
        """Snapshots, earlier moments of a namespace, and the way back."""
        return Past(self._async.past, self._loop)

    @property
    def branches(self) -> Branches:
        """What-if branches of a namespace."""
        return Branches(self._async.branches, self._loop)

    def close(self) -> None:
        """Disconnects; ends the cluster that `data=` started. Views of this client end with it."""
        if self._owns_loop and self._async.is_open:
            try:
                self._loop.run(self._async.close())
            finally:
                self._loop.close()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def with_key(self, api_key: str) -> MemOS:
        """Returns a client with another credential on the same connection."""
        return self._view(self._async.with_key(api_key))

    def as_principal(self, principal: str, roles: Sequence[str] = ()) -> MemOS:
        """Records a principal, issues a key for it and returns a client with that key."""
        return self._view(self._loop.run(self._async.as_principal(principal, roles)))

    def using(
        self,
        *,
        purpose: str | None = None,
        role: str | None = None,
        application: str | None = None,
    ) -> MemOS:
        """Returns a view of this client whose calls state another purpose, role or application."""
        return self._view(self._async.using(purpose=purpose, role=role, application=application))

    @overload
    def add(
        self,
        memory: str | NewMemory | Mapping[str, Any],
        namespace: str | None = None,
        **fields: Any,
    ) -> WriteResult: ...

    @overload
    def add(
        self,
        memory: Sequence[str | NewMemory | Mapping[str, Any]],
        namespace: str | None = None,
        **fields: Any,
    ) -> WriteReport: ...

    def add(self, memory: Any, namespace: str | None = None, **fields: Any) -> Any:
        """Stores one memory, or several; see `AsyncMemOS.add`."""
        return self._loop.run(self._async.add(memory, namespace, **fields))

    def get(self, id: str, *, namespace: str | None = None, version: int | None = None) -> Memory:
        """Returns a memory, at its newest version or at an older one."""
        return self._loop.run(self._async.get(id, namespace=namespace, version=version))

    def search(
        self,
        query: str | SearchQuery = "",
        *,
        namespace: str | Sequence[str] | None = None,
        **fields: Any,
    ) -> SearchResult:
        """Finds memories; see `AsyncMemOS.search`."""
        return self._loop.run(self._async.search(query, namespace=namespace, **fields))

    def understand(
        self,
        question: str | Question,
        *,
        namespace: str | Sequence[str] | None = None,
        **fields: Any,
    ) -> Understanding:
        """Says what a search would make of a question; see `AsyncMemOS.understand`."""
        return self._loop.run(self._async.understand(question, namespace=namespace, **fields))

    def reuse(
        self, task: str, *, namespace: str | Sequence[str] | None = None, limit: int = 10
    ) -> ReuseResult:
        """Returns what earlier tasks like this one have used; see `AsyncMemOS.reuse`."""
        return self._loop.run(self._async.reuse(task, namespace=namespace, limit=limit))

    def chat(self, messages: Messages, model: str | None = None, **fields: Any) -> ChatAnswer:
        """Answers a conversation, with memories before it; see `AsyncMemOS.chat`."""
        return self._loop.run(self._async.chat(messages, model, **fields))

    def chat_stream(
        self, messages: Messages, model: str | None = None, **fields: Any
    ) -> Iterator[ChatEvent]:
        """Yields an answer as it comes; see `AsyncMemOS.chat_stream`."""
        events = self._async.chat_stream(messages, model, **fields)
        try:
            while (event := self._loop.run(_next(events))) is not None:
                yield event
        finally:
            self._loop.run(events.aclose())

    def convert(
        self, ids: Sequence[str], model: str | None = None, *, namespace: str | None = None
    ) -> WriteResult:
        """Makes memories the beginning of every prompt; see `AsyncMemOS.convert`."""
        return self._loop.run(self._async.convert(ids, model, namespace=namespace))

    def models(self) -> list[str]:
        """Lists the models that can be asked."""
        return self._loop.run(self._async.models())

    def update(
        self,
        id: str,
        text: str | None = None,
        *,
        mode: UpdateMode | str = UpdateMode.MERGE,
        namespace: str | None = None,
        **fields: Any,
    ) -> WriteResult:
        """Makes a new version of a memory; see `AsyncMemOS.update`."""
        return self._loop.run(
            self._async.update(id, text, mode=mode, namespace=namespace, **fields)
        )

    def delete(self, id: str, **options: Any) -> WriteResult:
        """Deletes a memory; takes the options of `AsyncMemOS.delete`."""
        return self._loop.run(self._async.delete(id, **options))

    def restore(self, id: str, **options: Any) -> WriteResult:
        """Undoes a soft deletion; takes the options of `AsyncMemOS.restore`."""
        return self._loop.run(self._async.restore(id, **options))

    def rollback(self, id: str, to: int, **options: Any) -> WriteResult:
        """Brings an older version's content back; takes the options of `AsyncMemOS.rollback`."""
        return self._loop.run(self._async.rollback(id, to, **options))

    def share(
        self,
        id: str,
        *,
        readers: Sequence[str] = (),
        writers: Sequence[str] = (),
        sharers: Sequence[str] = (),
        remove: Sequence[str] = (),
        visibility: Visibility | str | None = None,
        **options: Any,
    ) -> WriteResult:
        """Changes who may reach a memory; see `AsyncMemOS.share`."""
        return self._loop.run(
            self._async.share(
                id,
                readers=readers,
                writers=writers,
                sharers=sharers,
                remove=remove,
                visibility=visibility,
                **options,
            )
        )

    def freeze(
        self, id: str, *, namespace: str | None = None, reason: str | None = None
    ) -> WriteResult:
        """Forbids every change of a memory."""
        return self._loop.run(self._async.freeze(id, namespace=namespace, reason=reason))

    def unfreeze(
        self, id: str, *, namespace: str | None = None, reason: str | None = None
    ) -> WriteResult:
        """Allows changes of a frozen memory again."""
        return self._loop.run(self._async.unfreeze(id, namespace=namespace, reason=reason))

    def history(
        self,
        id: str,
        *,
        namespace: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> History:
        """Lists the versions of a memory, newest first."""
        return self._loop.run(
            self._async.history(id, namespace=namespace, cursor=cursor, limit=limit)
        )

    def diff(self, id: str, before: int, after: int, *, namespace: str | None = None) -> Diff:
        """Compares two versions of a memory."""
        return self._loop.run(self._async.diff(id, before, after, namespace=namespace))

    def log(self, namespace: str | None = None, **filters: Any) -> LogPage:
        """Reads the log of a namespace; takes the filters of `AsyncMemOS.log`."""
        return self._loop.run(self._async.log(namespace, **filters))

    def provenance(self, id: str, **options: Any) -> Provenance:
        """Says where a memory came from, and what was made of it; see `AsyncMemOS.provenance`."""
        return self._loop.run(self._async.provenance(id, **options))

    def ingest(
        self,
        content: Path | str | bytes | Iterable[bytes] | Sequence[Mapping[str, Any]],
        /,
        *,
        namespace: str | None = None,
        progress: Progress | None = None,
        **options: Any,
    ) -> IngestReport:
        """Reads an input and stores what is in it, item by item; see `AsyncMemOS.ingest`."""
        return self._loop.run(
            self._async.ingest(content, namespace=namespace, progress=progress, **options)
        )

    def whoami(self) -> Who:
        """Says who the credential stands for."""
        return self._loop.run(self._async.whoami())

    def health(self) -> Health:
        """Says how the service is."""
        return self._loop.run(self._async.health())

    def iterate(self, namespace: str | None = None, **options: Any) -> Iterator[Memory]:
        """Yields all memories of a namespace, newest first; takes the options of `list`."""
        cursor: str | None = None
        limit = options.pop("limit", _PAGE)
        while True:
            page = self.list(namespace, cursor=cursor, limit=limit, **options)
            yield from page.memories
            cursor = page.cursor
            if cursor is None:
                return

    def list(self, namespace: str | None = None, **options: Any) -> MemoryPage:
        """Lists one page of a namespace; takes the options of `AsyncMemOS.list`."""
        return self._loop.run(self._async.list(namespace, **options))

    def _view(self, client: AsyncMemOS) -> MemOS:
        view = object.__new__(MemOS)
        view._async = client
        view._loop = self._loop
        view._owns_loop = False
        return view


async def _next(events: AsyncGenerator[T, None]) -> T | None:
    return await anext(events, None)
