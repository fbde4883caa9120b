"""What an asynchronous client reads."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any

from memos_ray.client.arguments import check, valid
from memos_ray.client.connection import Connection
from memos_ray.gateway.memories.models import Memory, MemoryPage, SearchQuery, SearchResult
from memos_ray.gateway.memories.record_models import Diff, History, LogFilter, LogPage
from memos_ray.gateway.memories.understanding_models import Question, Understanding
from memos_ray.gateway.paging import encode_token
from memos_ray.gateway.records.provenance_models import Direction, Provenance
from memos_ray.gateway.reuse.models import ReuseQuery, ReuseResult

_PAGE = 200


class AsyncReads(Connection):
    """The reading half of `AsyncMemOS`."""

    async def get(
        self, id: str, *, namespace: str | None = None, version: int | None = None
    ) -> Memory:
        """Returns a memory, at its newest version or at an older one."""
        check(id=id, namespace=namespace, version=version)
        return await self._transport.memories.get(self._caller(), id, namespace, version=version)

    async def search(
        self,
        query: str | SearchQuery = "",
        *,
        namespace: str | Sequence[str] | None = None,
        **fields: Any,
    ) -> SearchResult:
        """Finds memories.

        Args:
            query: what is wanted, in words; or a whole `SearchQuery`.
            namespace: where to look, one or several; the caller's own home when absent.
            fields: other fields of `SearchQuery`, such as `limit`, `filter` and `explain`; `turns`
                are the messages before the query, which fill what it leaves to them.
        """
        if isinstance(query, SearchQuery):
            wanted = query
        else:
            names = [namespace] if isinstance(namespace, str) else namespace
            wanted = valid(SearchQuery, query=query, namespaces=names, **fields)
        if wanted.token is None and self._newest:
            wanted = wanted.model_copy(update={"token": encode_token(self._newest)})
        return await self._transport.memories.search(self._caller(), wanted)

    async def understand(
        self,
        question: str | Question,
        *,
        namespace: str | Sequence[str] | None = None,
        **fields: Any,
    ) -> Understanding:
        """Says what a search would make of a question, and by which rules, without searching.

        Args:
            question: in words; or a whole `Question`.
            namespace: where dates of events are looked up; the caller's own home when absent.
            fields: other fields of `Question`, such as `turns`: the messages before it.
        """
        if isinstance(question, Question):
            wanted = question
        else:
            names = [namespace] if isinstance(namespace, str) else namespace
            wanted = valid(Question, query=question, namespaces=names, **fields)
        if wanted.token is None and self._newest:
            wanted = wanted.model_copy(update={"token": encode_token(self._newest)})
        return await self._transport.memories.understand(self._caller(), wanted)

    async def reuse(
        self, task: str, *, namespace: str | Sequence[str] | None = None, limit: int = 10
    ) -> ReuseResult:
        """Returns what earlier tasks like this one have used usefully, with reasons.

        A task is named by the purpose that its calls state; what this client's purpose has used
        itself is left out.

        Args:
            task: what is to be done, in words.
            namespace: where to look, one or several; as in `search` when absent.
        """
        names = [namespace] if isinstance(namespace, str) else namespace
        query = valid(ReuseQuery, task=task, namespaces=names, limit=limit)
        return await self._transport.reusing.find(self._caller(), query)

    async def history(
        self,
        id: str,
        *,
        namespace: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> History:
        """Lists the versions of a memory, newest first."""
        check(id=id, namespace=namespace, cursor=cursor, limit=limit)
        return await self._transport.memories.history(
            self._caller(), id, namespace, cursor=cursor, limit=limit
        )

    async def diff(self, id: str, before: int, after: int, *, namespace: str | None = None) -> Diff:
        """Compares two versions of a memory."""
        check(id=id, before=before, after=after, namespace=namespace)
        return await self._transport.memories.diff(self._caller(), id, before, after, namespace)

    async def log(
        self,
        namespace: str | None = None,
        *,
        cursor: str | None = None,
        limit: int = 50,
        **filters: Any,
    ) -> LogPage:
        """Reads the log of changes and decisions of a namespace, oldest first.

        Args:
            filters: fields of `LogFilter`: `principal`, `operation`, `memory_id`, `request_id`,
                `outcome`, `form`, `since`, `until`; `reads=True` for the log of reads and answers,
                `response=` for the memories that an answer was given, `everywhere=True` for all
                namespaces.
        """
        check(namespace=namespace, cursor=cursor, limit=limit)
        wanted = valid(LogFilter, **filters)
        return await self._transport.logs.log(
            self._caller(), namespace, wanted=wanted, cursor=cursor, limit=limit
        )

    async def provenance(
        self,
        id: str,
        *,
        namespace: str | None = None,
        direction: Direction | str = Direction.BOTH,
        depth: int = 3,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Provenance:
        """Says who made a memory, when and of what, and what was made of it; the nearest first."""
        check(id=id, namespace=namespace, direction=direction, cursor=cursor, limit=limit)
        return await self._transport.provenance.provenance(
            self._caller(),
            id,
            namespace,
            direction=Direction(direction),
            depth=depth,
            cursor=cursor,
            limit=limit,
        )

    async def iterate(
        self, namespace: str | None = None, **options: Any
    ) -> AsyncGenerator[Memory, None]:
        """Yields all memories of a namespace, newest first; takes the options of `list`."""
        cursor: str | None = None
        limit = options.pop("limit", _PAGE)
        while True:
            page = await self.list(namespace, cursor=cursor, limit=limit, **options)
            for memory in page.memories:
                yield memory
            cursor = page.cursor
            if cursor is None:
                return

    async def list(
        self,
        namespace: str | None = None,
        *,
        filter: str | None = None,
        tags: Sequence[str] = (),
        include_deleted: bool = False,
        cursor: str | None = None,
        limit: int = 20,
    ) -> MemoryPage:
        """Lists one page of a namespace, newest first; `iterate` yields all."""
        check(namespace=namespace, tags=tags, cursor=cursor, limit=limit)
        return await self._transport.memories.list(
            self._caller(),
            namespace,
            filter=filter,
            tags=tags,
            include_deleted=include_deleted,
            cursor=cursor,
            limit=limit,
        )
