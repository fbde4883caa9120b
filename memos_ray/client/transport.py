"""What a client talks to, wherever that is: the service in this process, or a URL."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Protocol

from memos_ray.client.adapters import ParameterApi
from memos_ray.client.branches import BranchesApi
from memos_ray.client.browsing import BrowsingApi
from memos_ray.client.evolution import EvolutionApi
from memos_ray.client.extraction import ExtractionApi
from memos_ray.client.kv import ActivationApi
from memos_ray.client.lifecycle import LifecycleApi
from memos_ray.client.organising import OrganisingApi
from memos_ray.client.past import PastApi
from memos_ray.client.personas import PersonaApi
from memos_ray.client.pipelines import PipelinesApi
from memos_ray.client.receipts import ReceiptApi
from memos_ray.client.reuse import ReuseApi
from memos_ray.client.sources import SourcesApi
from memos_ray.core.access.administration import AdminOperation
from memos_ray.gateway.admin.models import Change, Documents, Who
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.chat.models import ChatEvent, ChatQuery
from memos_ray.gateway.memories.models import (
    Memory,
    MemoryChange,
    MemoryPage,
    NewMemory,
    SearchQuery,
    SearchResult,
    Sharing,
    WriteReport,
)
from memos_ray.gateway.memories.record_models import Diff, Health, History, LogFilter, LogPage
from memos_ray.gateway.memories.understanding_models import Question, Understanding
from memos_ray.gateway.records.provenance_models import Direction, Provenance

Item = NewMemory | Mapping[str, Any]


class Transport(Protocol):
    """The verbs of the memory API; every method raises the errors of `memos_ray.errors`."""

    @property
    def activation(self) -> ActivationApi:
        """The verbs of activation memory."""
        ...

    @property
    def receipts(self) -> ReceiptApi:
        """Receipts of erasures."""
        ...

    @property
    def parameter(self) -> ParameterApi:
        """The verbs of parameter memory."""
        ...

    @property
    def pipelines(self) -> PipelinesApi:
        """The verbs of pipelines."""
        ...

    @property
    def evolution(self) -> EvolutionApi:
        """Feedback, and the verbs of evolution."""
        ...

    @property
    def organising(self) -> OrganisingApi:
        """The verbs of organising."""
        ...

    @property
    def personas(self) -> PersonaApi:
        """The verbs of personas."""
        ...

    @property
    def sources(self) -> SourcesApi:
        """The verbs of trusted sources."""
        ...

    @property
    def reusing(self) -> ReuseApi:
        """What earlier tasks have used."""
        ...

    @property
    def browsing(self) -> BrowsingApi:
        """The verbs of browsing."""
        ...

    @property
    def extraction(self) -> ExtractionApi:
        """The verbs of extraction."""
        ...

    @property
    def lifecycle(self) -> LifecycleApi:
        """The verbs of the lifecycle."""
        ...

    @property
    def branches(self) -> BranchesApi:
        """The verbs of branches."""
        ...

    @property
    def past(self) -> PastApi:
        """The verbs of the past."""
        ...

    async def add(
        self, caller: Caller, items: Sequence[Item], namespace: str | None
    ) -> WriteReport:
        """Stores memories, each with its own outcome."""
        ...

    async def update(
        self, caller: Caller, id: str, change: MemoryChange, namespace: str | None
    ) -> WriteReport:
        """Makes a new version."""
        ...

    async def share(
        self, caller: Caller, id: str, sharing: Sharing, namespace: str | None
    ) -> WriteReport:
        """Changes who may reach a memory."""
        ...

    async def delete(
        self,
        caller: Caller,
        id: str,
        namespace: str | None,
        hard: bool,
        expected_version: int | None,
        reason: str | None,
        key: str | None,
    ) -> WriteReport:
        """Deletes a memory."""
        ...

    async def restore(
        self, caller: Caller, id: str, namespace: str | None, reason: str | None, key: str | None
    ) -> WriteReport:
        """Undoes a soft deletion."""
        ...

    async def rollback(
        self,
        caller: Caller,
        id: str,
        to: int,
        namespace: str | None,
        expected_version: int | None,
        reason: str | None,
        key: str | None,
    ) -> WriteReport:
        """Brings the content of an older version back."""
        ...

    async def freeze(
        self,
        caller: Caller,
        id: str,
        namespace: str | None,
        frozen: bool,
        reason: str | None,
        key: str | None,
    ) -> WriteReport:
        """Forbids changes, or allows them again."""
        ...

    async def get(
        self, caller: Caller, id: str, namespace: str | None, version: int | None
    ) -> Memory:
        """Returns a memory."""
        ...

    async def list(
        self,
        caller: Caller,
        namespace: str | None,
        filter: str | None,
        tags: Sequence[str],
        include_deleted: bool,
        cursor: str | None,
        limit: int,
    ) -> MemoryPage:
        """Returns one page of a namespace."""
        ...

    async def search(self, caller: Caller, query: SearchQuery) -> SearchResult:
        """Finds memories."""
        ...

    async def understand(self, caller: Caller, question: Question) -> Understanding:
        """Says what a search would make of a question."""
        ...

    def chat(self, caller: Caller, query: ChatQuery) -> AsyncGenerator[ChatEvent, None]:
        """Answers a conversation, piece by piece."""
        ...

    async def models(self, caller: Caller) -> list[str]:  # type: ignore[valid-type]
        """Lists the models that can be asked."""
        ...

    async def history(
        self, caller: Caller, id: str, namespace: str | None, cursor: str | None, limit: int
    ) -> History:
        """Returns versions."""
        ...

    async def diff(
        self, caller: Caller, id: str, before: int, after: int, namespace: str | None
    ) -> Diff:
        """Compares two versions."""
        ...

    async def log(
        self,
        caller: Caller,
        namespace: str | None,
        wanted: LogFilter,
        cursor: str | None,
        limit: int,
    ) -> LogPage:
        """Reads a log."""
        ...

    async def provenance(
        self,
        caller: Caller,
        id: str,
        namespace: str | None,
        direction: Direction,
        depth: int,
        cursor: str | None,
        limit: int,
    ) -> Provenance:
        """Returns a page of a memory's lineage."""
        ...

    async def change(self, caller: Caller, operation: AdminOperation) -> Change:
        """Changes policy."""
        ...

    async def documents(self, caller: Caller, namespace: str | None) -> Documents:
        """Lists policy documents."""
        ...

    async def whoami(self, caller: Caller) -> Who:
        """Says who the caller is."""
        ...

    async def health(self) -> Health:
        """Says how the service is."""
        ...

    def keep(self, content: bytes) -> str | None:
        """Stores an attachment's bytes, where that is possible; returns their digest."""
        ...

    async def close(self) -> None:
        """Lets go of connections and, for an embedded cluster, stops it."""
        ...
