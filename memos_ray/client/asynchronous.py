"""The asynchronous client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar, overload

from memos_ray.client.arguments import check, valid
from memos_ray.client.reads import AsyncReads
from memos_ray.client.transport import Item
from memos_ray.client.verbs.adapters import AsyncAdapters
from memos_ray.client.verbs.branches import AsyncBranches
from memos_ray.client.verbs.browsing import AsyncGraph, AsyncTopics
from memos_ray.client.verbs.conversations import Messages, chat_query
from memos_ray.client.verbs.evolution import AsyncEvolution
from memos_ray.client.verbs.extraction import AsyncExtraction
from memos_ray.client.verbs.inputs import drafts_from
from memos_ray.client.verbs.kv import AsyncKv
from memos_ray.client.verbs.lifecycle import AsyncLifecycleVerbs
from memos_ray.client.verbs.organising import AsyncOrganise
from memos_ray.client.verbs.past import AsyncPast
from memos_ray.client.verbs.personas import AsyncPersonas
from memos_ray.client.verbs.pipelines import AsyncPipelines
from memos_ray.client.verbs.sources import AsyncSources
from memos_ray.client.writes import AsyncWrites
from memos_ray.errors import InvalidInputError
from memos_ray.gateway.activation.models import Conversion
from memos_ray.gateway.chat.models import ChatAnswer, ChatEvent, whole
from memos_ray.gateway.evolution.models import Feedback, FeedbackResult
from memos_ray.gateway.memories.bodies import IngestReport
from memos_ray.gateway.memories.ingestion import Ingestion, IngestOptions, Progress
from memos_ray.gateway.memories.models import (
    NewMemory,
    WriteReport,
    WriteResult,
)
from memos_ray.gateway.paging import decode_token, encode_token
from memos_ray.gateway.records.receipt_models import ErasureReceipt

Self = TypeVar("Self", bound="AsyncMemOS")

_ADD_BATCH = 1000


class AsyncMemOS(AsyncReads, AsyncWrites):
    """A client of the memory service. `MemOS` is the same without `await`.

    Opens one of three places (see `docs/sdk.md`): `data=` runs a cluster inside this process,
    `address=` joins a Ray cluster, `url=` speaks REST. With none of them it finds the configured
    URL or the cluster that runs on the default data folder. Connects on entering `async with`, or
    by `open`.

    What one client has written, its later searches see: it remembers the newest write token.

    Args:
        api_key: whose memory it is; the data folder's admin key when absent and readable.
        purpose: why memory is wanted, for policies that ask.
        role: the one role to use, of those that the caller holds.
        application: the calling application.
    """

    @overload
    async def add(
        self,
        memory: str | NewMemory | Mapping[str, Any],
        namespace: str | None = None,
        **fields: Any,
    ) -> WriteResult: ...

    @overload
    async def add(
        self,
        memory: Sequence[str | NewMemory | Mapping[str, Any]],
        namespace: str | None = None,
        **fields: Any,
    ) -> WriteReport: ...

    async def add(
        self,
        memory: str | NewMemory | Mapping[str, Any] | Sequence[str | NewMemory | Mapping[str, Any]],
        namespace: str | None = None,
        **fields: Any,
    ) -> WriteResult | WriteReport:
        """Stores one memory, or several.

        Args:
            namespace: where they go; the caller's own home when absent.
            fields: fields of `NewMemory`; for several, those that an item does not set itself.

        Returns:
            For one its outcome; an error is raised. For several a report with each item's own
            outcome; only what concerns all of them is raised.
        """
        check(namespace=namespace)
        if isinstance(memory, str | bytes | NewMemory | Mapping) or not isinstance(
            memory, Iterable
        ):
            item = valid(NewMemory, **_fields_of(memory, fields))
            report = await self._transport.add(self._caller(), [item], namespace)
            return self._single(report)
        results: list[WriteResult] = []
        newest: dict[int, int] = {}
        items = [_with_defaults(each, fields) for each in memory]
        for start in range(0, len(items), _ADD_BATCH):
            batch = items[start : start + _ADD_BATCH]
            report = await self._transport.add(self._caller(), batch, namespace)
            results.extend(report.results)
            newest.update(decode_token(report.token))
        self._note(newest)
        return WriteReport(results=results, token=encode_token(newest))

    async def chat(self, messages: Messages, model: str | None = None, **fields: Any) -> ChatAnswer:
        """Answers a conversation, with memories before it.

        Args:
            messages: what the user says; or a whole conversation, as OpenAI's clients write it.
            model: name of the model; may be left out where there is only one.
            fields: other fields of `ChatQuery`, such as `memory`, `namespaces` and `session`.
        """
        return await whole(self.chat_stream(messages, model, **fields))

    async def chat_stream(
        self, messages: Messages, model: str | None = None, **fields: Any
    ) -> AsyncGenerator[ChatEvent, None]:
        """Yields an answer as it comes; else as `chat`. Leaving early cancels it."""
        query = chat_query(messages, model or await self._only_model(), fields)
        async with aclosing(self._transport.chat(self._caller(), query)) as events:
            async for event in events:
                yield event

    async def convert(
        self, ids: Sequence[str], model: str | None = None, *, namespace: str | None = None
    ) -> WriteResult:
        """Makes memories the beginning of every prompt of their namespace, with a KV cache.

        Returns:
            The activation memory; deleting it ends this.
        """
        chosen = model or await self._only_model()
        wanted = valid(Conversion, ids=list(ids), model=chosen, namespace=namespace)
        return self._single(await self._transport.activation.convert(self._caller(), wanted))

    async def receipt(self, id: str, *, namespace: str | None = None) -> ErasureReceipt:
        """Says what the erasure of a memory has retired; signed once nothing of it is left."""
        check(id=id, namespace=namespace)
        return await self._transport.receipts.receipt(self._caller(), id, namespace)

    @property
    def adapters(self) -> AsyncAdapters:
        """What models have learnt of memories, and lessons."""
        return AsyncAdapters(self._transport.parameter, self._caller, self._only_model)

    @property
    def pipelines(self) -> AsyncPipelines:
        """Memory pipelines and their runs."""
        return AsyncPipelines(self._transport.pipelines, self._caller)

    @property
    def kv(self) -> AsyncKv:
        """The KV caches of activation memories."""
        return AsyncKv(self._transport.activation, self._caller, self._single)

    @property
    def evolution(self) -> AsyncEvolution:
        """Splits and summaries that the use of memories suggests."""
        return AsyncEvolution(self._transport.evolution, self._caller)

    async def feedback(
        self,
        *,
        memory: str | None = None,
        response: str | None = None,
        useful: bool,
        note: str | None = None,
        namespace: str | None = None,
    ) -> FeedbackResult:
        """Keeps whether a memory, or an answer by its `response` id, was useful to the caller.

        Raises:
            NotFoundError: there is no such memory, or no such answer of this caller.
        """
        check(namespace=namespace)
        said = valid(Feedback, memory_id=memory, response=response, useful=useful, note=note)
        return await self._transport.evolution.feedback(self._caller(), said, namespace)

    @property
    def organise(self) -> AsyncOrganise:
        """Duplicates, and facts that newer ones have overtaken."""
        return AsyncOrganise(self._transport.organising, self._caller)

    @property
    def personas(self) -> AsyncPersonas:
        """The caller's roles, each with a memory stream of its own."""
        return AsyncPersonas(
            self._transport.personas, self._caller, lambda role: self.using(role=role)
        )

    @property
    def sources(self) -> AsyncSources:
        """Authoritative documents, and what they supersede."""
        return AsyncSources(self._transport.sources, self._caller)

    @property
    def topics(self) -> AsyncTopics:
        """What memories are about."""
        return AsyncTopics(self._transport.browsing, self._caller)

    @property
    def graph(self) -> AsyncGraph:
        """What memories have to do with one another."""
        return AsyncGraph(self._transport.browsing, self._caller)

    @property
    def extraction(self) -> AsyncExtraction:
        """What a model extracts from memories that are stored with `extract`."""
        return AsyncExtraction(self._transport.extraction, self._caller)

    @property
    def lifecycle(self) -> AsyncLifecycleVerbs:
        """How memories age, and what is put away."""
        return AsyncLifecycleVerbs(self._transport.lifecycle, self._caller, self._single)

    @property
    def past(self) -> AsyncPast:
        """Snapshots, earlier moments of a namespace, and the way back."""
        return AsyncPast(self._transport.past, self._caller)

    @property
    def branches(self) -> AsyncBranches:
        """What-if branches of a namespace."""
        return AsyncBranches(self._transport.branches, self._caller, self._single)

    async def models(self) -> list[str]:
        """Lists the models that can be asked."""
        return await self._transport.models(self._caller())

    async def _only_model(self) -> str:
        known = await self.models()
        if len(known) != 1:
            raise InvalidInputError("which model?", field="model", known=known)
        return known[0]

    async def ingest(
        self,
        content: Path | str | bytes | Iterable[bytes] | Sequence[Mapping[str, Any]],
        /,
        *,
        namespace: str | None = None,
        progress: Progress | None = None,
        batch: int = 256,
        **options: Any,
    ) -> IngestReport:
        """Reads a dialogue, document or list of events and stores what is in it, item by item.

        Each item is written under a key made of its source and content: to repeat an ingest, or to
        resume one that was cut off, call it again.

        Args:
            content: path of a file; bytes; lines of a line format; or a list of messages.
            progress: called after each batch with the number of items dealt with.
            batch: items of one write.
            options: fields of `IngestOptions`, such as `format`, `conversation`, `tags`,
                `extract` and `source`, the input's stable identity.

        Returns:
            The outcome of every item; those that cannot be read or stored have an error.
        """
        check(namespace=namespace)
        given = valid(IngestOptions, **options)

        async def write(memories: Sequence[NewMemory]) -> WriteReport:
            report = await self._transport.add(self._caller(), memories, namespace)
            self._note(decode_token(report.token))
            return report

        with drafts_from(content, given) as (items, settled):
            keep = self._transport.keep
            run = Ingestion(settled, write, keep=keep, progress=progress, batch=batch)
            return await run.run(items)


def _fields_of(
    memory: str | NewMemory | Mapping[str, Any], fields: Mapping[str, Any]
) -> dict[str, Any]:
    if isinstance(memory, str):
        return {"text": memory, **fields}
    if isinstance(memory, NewMemory):
        return {**{name: getattr(memory, name) for name in memory.model_fields_set}, **fields}
    if not isinstance(memory, Mapping):
        raise InvalidInputError(
            "a memory is a text, a NewMemory or a mapping of its fields",
            found=type(memory).__name__,
        )
    return {**memory, **fields}


def _with_defaults(item: str | NewMemory | Mapping[str, Any], fields: Mapping[str, Any]) -> Item:
    if isinstance(item, NewMemory) and not fields:
        return item
    return {**fields, **_fields_of(item, {})}
