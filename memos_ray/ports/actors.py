"""Actors, as their callers see them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from memos_ray.core.access.administration import AdminOperation, Changed
from memos_ray.core.access.context import CallContext
from memos_ray.core.access.documents import TenantDocuments
from memos_ray.core.access.personas import PersonaOperation
from memos_ray.core.access.snapshot import SignedLease, SignedSnapshot
from memos_ray.core.activation import CacheReport
from memos_ray.core.cube.cube import MemCube, VersionInfo
from memos_ray.core.evolution import (
    EvolutionMode,
    EvolutionReport,
    FeedbackReport,
    FeedbackRequest,
    ShownEvolution,
    Verdict,
)
from memos_ray.core.extraction import ExtractionReport
from memos_ray.core.lifecycle.past import Differences, PastPage, Returned, Snapshot
from memos_ray.core.lifecycle.reports import LifecycleStatus, SweepReport, SweepRequest
from memos_ray.core.organising import OrganisingReport, ShownProposal
from memos_ray.core.parameter import (
    AdapterPart,
    ExternaliseReport,
    ProposalReport,
    TeachingReport,
)
from memos_ray.core.retrieval.requests import SearchReply, SearchRequest
from memos_ray.core.scheduling import AnsweredPrompt, PromptStart
from memos_ray.core.vault.lineage import LineageAnswer, LineageRequest
from memos_ray.core.vault.log import Event
from memos_ray.core.vault.operations import Written
from memos_ray.core.vault.planning import Submission
from memos_ray.core.vault.receipts import Receipt
from memos_ray.core.vault.requests import (
    ConvertRequest,
    ExternaliseRequest,
    ImportRequest,
    ListRequest,
    MergeRequest,
    ShardStatus,
    TeachRequest,
)
from memos_ray.core.vault.ring import Ring
from memos_ray.errors import MemosError
from memos_ray.ports.branches import BranchPort
from memos_ray.ports.browsing import BrowsingPort
from memos_ray.ports.records import EventQuery, LogPiece, LogRequest
from memos_ray.ports.sources import ReusePort, SourcesPort


class ShardPort(BranchPort, BrowsingPort, SourcesPort, ReusePort, Protocol):
    """A vault shard, as gateways and the supervisor see it; every call is one remote hop.

    All methods raise `NotOwnerError` for a partition that the shard does not hold,
    `PolicyUnavailableError` without a fresh policy, and `UnavailableError` when it is away.
    """

    async def write(
        self, partition: int, submissions: Sequence[Submission]
    ) -> list[Written | MemosError]:
        """Commits writes; one outcome each, in order."""
        ...

    async def write_all(self, partition: int, submissions: Sequence[Submission]) -> list[Written]:
        """Commits writes in one transaction, all or none; raises the first error among them."""
        ...

    async def get(
        self, partition: int, context: CallContext, ids: Sequence[str]
    ) -> list[MemCube | None]:
        """Returns memories that the caller may read; absent for the others."""
        ...

    async def page(self, partition: int, request: ListRequest) -> list[MemCube]:
        """Returns one page of a namespace, newest first."""
        ...

    async def versions(
        self, partition: int, context: CallContext, cube_id: str, before: int, limit: int
    ) -> list[VersionInfo]:
        """Returns a memory's version records below a number, newest first."""
        ...

    async def version(
        self, partition: int, context: CallContext, cube_id: str, number: int
    ) -> MemCube:
        """Returns one version of a memory."""
        ...

    async def search(self, partition: int, request: SearchRequest) -> SearchReply:
        """Searches a namespace's share in one partition."""
        ...

    async def organising_proposals(
        self, partition: int, context: CallContext, namespace: str
    ) -> OrganisingReport:
        """Returns what is proposed about memories that the caller may read."""
        ...

    async def settle_organising(
        self, partition: int, context: CallContext, namespace: str, proposal: str, accept: bool
    ) -> ShownProposal:
        """Accepts or refuses a proposal, with the caller's rights."""
        ...

    async def automate_organising(
        self, partition: int, context: CallContext, namespace: str, automatic: bool
    ) -> None:
        """Has what is sure done at once, or only proposed."""
        ...

    async def extraction(
        self, partition: int, context: CallContext, namespace: str
    ) -> ExtractionReport:
        """Says how extraction stands in a namespace."""
        ...

    async def retry_extraction(
        self, partition: int, context: CallContext, namespace: str, job: str | None
    ) -> int:
        """Has parked jobs tried again: one, or all that the caller may; returns how many."""
        ...

    async def automate_extraction(
        self, partition: int, context: CallContext, namespace: str, automatic: bool
    ) -> None:
        """Has all that is stored in a namespace read by a model, or no longer."""
        ...

    async def start_prompt(
        self,
        partition: int,
        context: CallContext,
        namespace: str,
        model: str,
        session: str | None = None,
        adapter: str | None = None,
    ) -> PromptStart:
        """Returns what a prompt of a namespace begins with, and the KV caches that there are.

        Nothing of what the caller may not read; of what all prompts begin with, all or nothing.

        Args:
            session: of the caller's own conversation, if it is kept.
            adapter: the one that the prompt is for; the newest that may be used when absent.

        Raises:
            NotFoundError: there is no such adapter that may be used.
        """
        ...

    async def answered(self, partition: int, answered: AnsweredPrompt) -> None:
        """Learns from an answered prompt: keeps the conversation, and counts what was used."""
        ...

    async def convert(self, partition: int, request: ConvertRequest) -> Written:
        """Makes memories the shared beginning of a namespace's prompts, and builds its KV cache."""
        ...

    async def teach(self, partition: int, request: TeachRequest) -> TeachingReport:
        """Begins to teach a model memories of a namespace; returns at once."""
        ...

    async def merge_adapters(self, partition: int, request: MergeRequest) -> TeachingReport:
        """Begins to combine adapters into one; returns at once."""
        ...

    async def import_adapter(self, partition: int, request: ImportRequest) -> TeachingReport:
        """Begins to check an adapter that was made elsewhere; returns at once."""
        ...

    async def adapter_part(
        self, partition: int, context: CallContext, namespace: str, adapter_id: str, start: int
    ) -> AdapterPart:
        """Returns a part of an adapter's file, with what PEFT says of it."""
        ...

    async def lessons(
        self, partition: int, context: CallContext, namespace: str
    ) -> list[TeachingReport]:
        """Reports on the lessons and adapters of a namespace."""
        ...

    async def cancel_lesson(
        self, partition: int, context: CallContext, namespace: str, lesson_id: str
    ) -> None:
        """Ends a lesson."""
        ...

    async def proposals(
        self, partition: int, context: CallContext, namespace: str
    ) -> list[ProposalReport]:
        """Says what models should learn of a namespace, to who may teach there."""
        ...

    async def accept_proposal(
        self,
        partition: int,
        context: CallContext,
        namespace: str,
        proposal_id: str,
        minted_id: str,
    ) -> TeachingReport:
        """Begins the lesson that is proposed; returns at once.

        Args:
            minted_id: for the lesson.

        Raises:
            NotFoundError: there is no such proposal, or not any more.
        """
        ...

    async def refuse_proposal(
        self, partition: int, context: CallContext, namespace: str, proposal_id: str
    ) -> ProposalReport:
        """Has a proposal go, and nothing like it come again.

        Raises:
            NotFoundError: there is no such proposal, or not any more.
        """
        ...

    async def externalise(self, partition: int, request: ExternaliseRequest) -> ExternaliseReport:
        """Makes plaintext memories from an adapter; asking it goes on behind the answer."""
        ...

    async def caches(
        self, partition: int, context: CallContext, namespace: str, ids: Sequence[str] | None
    ) -> list[CacheReport]:
        """Reports on the activation memories of a namespace, all or some, and their caches."""
        ...

    async def evict(self, partition: int, context: CallContext, cube_id: str) -> CacheReport:
        """Lets go of the cache of an activation memory, hot and at rest."""
        ...

    async def receipt(self, partition: int, context: CallContext, cube_id: str) -> Receipt:
        """Returns the receipt of an erasure."""
        ...

    async def log(self, partition: int, request: LogRequest) -> LogPiece:
        """Returns log entries of the caller's tenant; looks at a bounded number."""
        ...

    async def lineage(self, partition: int, request: LineageRequest) -> LineageAnswer:
        """Says of memories what they were made of, and what was made of them in this partition."""
        ...

    async def feedback(self, partition: int, request: FeedbackRequest) -> FeedbackReport:
        """Keeps what the caller says of memories that it may read; a second time replaces it."""
        ...

    async def evolution(
        self, partition: int, context: CallContext, namespace: str
    ) -> EvolutionReport:
        """Says how a namespace evolves: its mode, proposals, and what memories are worth."""
        ...

    async def evolve(
        self,
        partition: int,
        context: CallContext,
        namespace: str,
        mode: EvolutionMode | None = None,
    ) -> EvolutionReport:
        """Sets what happens by itself in a namespace; without a mode, looks for proposals now."""
        ...

    async def settle_evolution(
        self,
        partition: int,
        context: CallContext,
        namespace: str,
        proposal: str,
        verdict: Verdict,
    ) -> ShownEvolution:
        """Accepts, refuses or undoes a proposal, for who owns its memories.

        Raises:
            NotFoundError: there is none that the caller may see.
            PermissionDeniedError: the caller does not own, or may not change, the memories.
            IllegalStateError: it has been decided, or does not hold any more.
            VersionConflictError: a memory has been changed since.
        """
        ...

    async def sweep(self, partition: int, request: SweepRequest) -> SweepReport:
        """Moves memories on that are due by their age and use; looks at a bounded number."""
        ...

    async def past_get(
        self, partition: int, context: CallContext, cube_id: str, at: datetime
    ) -> MemCube:
        """Returns a memory as it was at a moment."""
        ...

    async def past_page(self, partition: int, request: PastPage) -> list[MemCube]:
        """Returns a page of a namespace as it was, newest first."""
        ...

    async def past_differences(self, partition: int, request: PastPage) -> Differences:
        """Compares two moments, for a bounded number of memories."""
        ...

    async def go_back(self, partition: int, request: PastPage) -> Returned:
        """Takes a bounded number of memories back to a moment; doing it twice changes nothing."""
        ...

    async def snapshots(
        self, partition: int, context: CallContext, namespace: str
    ) -> list[Snapshot]:
        """Lists the named moments of a namespace, oldest first."""
        ...

    async def take_snapshot(
        self, partition: int, context: CallContext, namespace: str, name: str, reason: str | None
    ) -> Snapshot:
        """Names this moment of a namespace."""
        ...

    async def forget_snapshot(
        self, partition: int, context: CallContext, namespace: str, name: str
    ) -> Snapshot:
        """Forgets the name of a moment; its author may, and who administers the namespace."""
        ...

    async def own(self, partitions: Sequence[int]) -> None:
        """Takes partitions over, each under an epoch above its last one; those held stay."""
        ...

    async def disown(self, partitions: Sequence[int]) -> None:
        """Finishes the writes that wait and gives partitions up."""
        ...

    async def status(self) -> ShardStatus:
        """Reports on itself."""
        ...


class GovernancePort(Protocol):
    """The policy authority, as readers of policy see it."""

    async def snapshot(self, tenant: str) -> SignedSnapshot:
        """Returns the newest policy of a tenant under a fresh lease.

        Raises:
            PolicyUnavailableError: the authority is away, or there is no such tenant.
        """
        ...

    async def wait_for_newer(
        self, tenant: str, version: int, timeout_s: float
    ) -> SignedSnapshot | SignedLease:
        """Returns as soon as there is a version above `version`, or else a renewed lease on it."""
        ...

    async def attest(self, tenant: str, receipt_digest: str) -> bytes:
        """Signs the digest of a complete receipt of an erasure, see `core.vault.receipts`."""
        ...

    async def change(
        self, context: CallContext, operation: AdminOperation | PersonaOperation
    ) -> Changed:
        """Carries out an administrator's request, durably and on record."""
        ...

    async def documents(self, context: CallContext, namespace: str) -> TenantDocuments:
        """Lists a tenant's policy documents, or one namespace's, to who administers them."""
        ...

    async def events(
        self, context: CallContext, query: EventQuery, after: int, limit: int
    ) -> list[Event]:
        """Returns control events of the caller's tenant to its administrators, oldest first."""
        ...


class LifecyclePort(Protocol):
    """The schedule by which memories age."""

    async def status(self) -> LifecycleStatus:
        """Says how the lifecycle stands."""
        ...

    async def sweep(self) -> LifecycleStatus:
        """Sweeps all partitions now and returns how that went."""
        ...


class RingPort(Protocol):
    """Where the ring comes from."""

    async def ring(self) -> Ring:
        """Returns the newest ring."""
        ...


class SupervisorPort(RingPort, Protocol):
    """The supervisor, as gateways see it."""

    async def status(self) -> dict[str, ShardStatus | None]:
        """Returns what each shard last said of itself; nothing for one that does not answer."""
        ...


class CrewPort(Protocol):
    """The actors that the supervisor starts and looks after, by name."""

    async def start_pipelines(self) -> None:
        """Starts the runner of pipelines unless it runs, and has it resume what it finds.

        Raises:
            UnavailableError: it does not come up.
        """
        ...

    async def has_pipelines(self) -> bool:
        """Says whether the runner of pipelines has been started."""
        ...

    async def start_shard(self, name: str) -> None:
        """Starts a shard unless it runs; does not wait."""
        ...

    async def stop_shard(self, name: str) -> None:
        """Ends a shard that owns nothing any more."""
        ...

    def shard(self, name: str) -> ShardPort:
        """Returns the shard of this name, running or not."""
        ...
