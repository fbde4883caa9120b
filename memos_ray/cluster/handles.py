"""The typed handle of a shard: its port, carried by Ray."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from memos_ray.cluster.browsing_handle import BrowsingHandle
from memos_ray.cluster.packing import pack, unpack
from memos_ray.cluster.remote import RemoteActor
from memos_ray.cluster.source_handle import SourceCalls
from memos_ray.core.access.context import CallContext
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
from memos_ray.core.lifecycle.branches import Branch, BranchPage, BranchView, Merged
from memos_ray.core.lifecycle.past import Differences, Differing, PastPage, Returned, Snapshot
from memos_ray.core.lifecycle.reports import SweepReport, SweepRequest
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
from memos_ray.errors import MemosError
from memos_ray.ports import LogPiece, LogRequest

_BOOT_TIMEOUT_S = 120.0
_BUILD_TIMEOUT_S = 300.0


class ShardHandle(SourceCalls, BrowsingHandle):
    """A remote shard. Implements `ports.ShardPort`."""

    def __init__(self, name: str, namespace: str) -> None:
        self._actor = RemoteActor(name, namespace)

    async def write(
        self, partition: int, submissions: Sequence[Submission]
    ) -> list[Written | MemosError]:
        """Commits writes."""
        outcomes: list[Written | MemosError] = await self._call("write", partition, submissions)
        return outcomes

    async def write_all(self, partition: int, submissions: Sequence[Submission]) -> list[Written]:
        """Commits writes, all or none."""
        written: list[Written] = await self._call("write_all", partition, submissions)
        return written

    async def get(
        self, partition: int, context: CallContext, ids: Sequence[str]
    ) -> list[MemCube | None]:
        """Returns memories that the caller may read."""
        cubes: list[MemCube | None] = await self._call("get", partition, context, ids)
        return cubes

    async def page(self, partition: int, request: ListRequest) -> list[MemCube]:
        """Returns one page of a namespace."""
        cubes: list[MemCube] = await self._call("page", partition, request)
        return cubes

    async def versions(
        self, partition: int, context: CallContext, cube_id: str, before: int, limit: int
    ) -> list[VersionInfo]:
        """Returns version records."""
        found: list[VersionInfo] = await self._call(
            "versions", partition, context, cube_id, before, limit
        )
        return found

    async def version(
        self, partition: int, context: CallContext, cube_id: str, number: int
    ) -> MemCube:
        """Returns one version."""
        cube: MemCube = await self._call("version", partition, context, cube_id, number)
        return cube

    async def search(self, partition: int, request: SearchRequest) -> SearchReply:
        """Searches."""
        reply: SearchReply = await self._call("search", partition, request)
        return reply

    async def start_prompt(
        self,
        partition: int,
        context: CallContext,
        namespace: str,
        model: str,
        session: str | None = None,
        adapter: str | None = None,
    ) -> PromptStart:
        """Returns what a prompt begins with."""
        # References travel beside what is packed: only Ray itself may carry them.
        packed, references = await self._actor.call(
            "start_prompt_apart", pack((partition, context, namespace, model, session, adapter))
        )
        found: PromptStart = unpack(packed)
        return found.together(references)

    async def organising_proposals(
        self, partition: int, context: CallContext, namespace: str
    ) -> OrganisingReport:
        """Returns what is proposed."""
        report: OrganisingReport = await self._call(
            "organising_proposals", partition, context, namespace
        )
        return report

    async def settle_organising(
        self, partition: int, context: CallContext, namespace: str, proposal: str, accept: bool
    ) -> ShownProposal:
        """Accepts or refuses a proposal."""
        shown: ShownProposal = await self._call(
            "settle_organising", partition, context, namespace, proposal, accept
        )
        return shown

    async def automate_organising(
        self, partition: int, context: CallContext, namespace: str, automatic: bool
    ) -> None:
        """Has what is sure done at once, or only proposed."""
        await self._call("automate_organising", partition, context, namespace, automatic)

    async def extraction(
        self, partition: int, context: CallContext, namespace: str
    ) -> ExtractionReport:
        """Says how extraction stands."""
        report: ExtractionReport = await self._call("extraction", partition, context, namespace)
        return report

    async def retry_extraction(
        self, partition: int, context: CallContext, namespace: str, job: str | None
    ) -> int:
        """Has parked jobs tried again."""
        count: int = await self._call("retry_extraction", partition, context, namespace, job)
        return count

    async def automate_extraction(
        self, partition: int, context: CallContext, namespace: str, automatic: bool
    ) -> None:
        """Has all that is stored read, or no longer."""
        await self._call("automate_extraction", partition, context, namespace, automatic)

    async def answered(self, partition: int, answered: AnsweredPrompt) -> None:
        """Learns from an answered prompt."""
        await self._call("answered", partition, answered)

    async def convert(self, partition: int, request: ConvertRequest) -> Written:
        """Makes a block of memories and its KV cache."""
        written: Written = await self._call(
            "convert", partition, request, timeout_s=_BUILD_TIMEOUT_S
        )
        return written

    async def teach(self, partition: int, request: TeachRequest) -> TeachingReport:
        """Begins a lesson."""
        report: TeachingReport = await self._call("teach", partition, request)
        return report

    async def merge_adapters(self, partition: int, request: MergeRequest) -> TeachingReport:
        """Begins to combine adapters."""
        report: TeachingReport = await self._call(
            "merge_adapters", partition, request, timeout_s=_BUILD_TIMEOUT_S
        )
        return report

    async def import_adapter(self, partition: int, request: ImportRequest) -> TeachingReport:
        """Begins to take an adapter in."""
        report: TeachingReport = await self._call(
            "import_adapter", partition, request, timeout_s=_BUILD_TIMEOUT_S
        )
        return report

    async def adapter_part(
        self, partition: int, context: CallContext, namespace: str, adapter_id: str, start: int
    ) -> AdapterPart:
        """Returns a part of an adapter's file."""
        part: AdapterPart = await self._call(
            "adapter_part",
            *(partition, context, namespace, adapter_id, start),
            timeout_s=_BUILD_TIMEOUT_S,
        )
        return part

    async def lessons(
        self, partition: int, context: CallContext, namespace: str
    ) -> list[TeachingReport]:
        """Reports on lessons and adapters."""
        found: list[TeachingReport] = await self._call("lessons", partition, context, namespace)
        return found

    async def cancel_lesson(
        self, partition: int, context: CallContext, namespace: str, lesson_id: str
    ) -> None:
        """Ends a lesson."""
        await self._call("cancel_lesson", partition, context, namespace, lesson_id)

    async def proposals(
        self, partition: int, context: CallContext, namespace: str
    ) -> list[ProposalReport]:
        """Says what models should learn."""
        found: list[ProposalReport] = await self._call("proposals", partition, context, namespace)
        return found

    async def accept_proposal(
        self,
        partition: int,
        context: CallContext,
        namespace: str,
        proposal_id: str,
        minted_id: str,
    ) -> TeachingReport:
        """Begins the lesson that is proposed."""
        report: TeachingReport = await self._call(
            "accept_proposal", partition, context, namespace, proposal_id, minted_id
        )
        return report

    async def refuse_proposal(
        self, partition: int, context: CallContext, namespace: str, proposal_id: str
    ) -> ProposalReport:
        """Has something not proposed again."""
        report: ProposalReport = await self._call(
            "refuse_proposal", partition, context, namespace, proposal_id
        )
        return report

    async def externalise(self, partition: int, request: ExternaliseRequest) -> ExternaliseReport:
        """Makes plaintext memories from an adapter."""
        report: ExternaliseReport = await self._call("externalise", partition, request)
        return report

    async def caches(
        self, partition: int, context: CallContext, namespace: str, ids: Sequence[str] | None
    ) -> list[CacheReport]:
        """Reports on KV caches."""
        found: list[CacheReport] = await self._call("caches", partition, context, namespace, ids)
        return found

    async def evict(self, partition: int, context: CallContext, cube_id: str) -> CacheReport:
        """Lets go of a KV cache."""
        report: CacheReport = await self._call("evict", partition, context, cube_id)
        return report

    async def receipt(self, partition: int, context: CallContext, cube_id: str) -> Receipt:
        """Returns the receipt of an erasure."""
        found: Receipt = await self._call("receipt", partition, context, cube_id)
        return found

    async def log(self, partition: int, request: LogRequest) -> LogPiece:
        """Returns log entries."""
        piece: LogPiece = await self._call("log", partition, request)
        return piece

    async def lineage(self, partition: int, request: LineageRequest) -> LineageAnswer:
        """Says what memories were made of, and what of them."""
        answer: LineageAnswer = await self._call("lineage", partition, request)
        return answer

    async def feedback(self, partition: int, request: FeedbackRequest) -> FeedbackReport:
        """Keeps what is said of memories."""
        report: FeedbackReport = await self._call("feedback", partition, request)
        return report

    async def evolution(
        self, partition: int, context: CallContext, namespace: str
    ) -> EvolutionReport:
        """Says how a namespace evolves."""
        report: EvolutionReport = await self._call("evolution", partition, context, namespace)
        return report

    async def evolve(
        self,
        partition: int,
        context: CallContext,
        namespace: str,
        mode: EvolutionMode | None = None,
    ) -> EvolutionReport:
        """Sets what happens by itself, or looks now."""
        report: EvolutionReport = await self._call("evolve", partition, context, namespace, mode)
        return report

    async def settle_evolution(
        self,
        partition: int,
        context: CallContext,
        namespace: str,
        proposal: str,
        verdict: Verdict,
    ) -> ShownEvolution:
        """Accepts, refuses or undoes a proposal."""
        shown: ShownEvolution = await self._call(
            "settle_evolution", partition, context, namespace, proposal, verdict
        )
        return shown

    async def sweep(self, partition: int, request: SweepRequest) -> SweepReport:
        """Moves memories on that are due."""
        report: SweepReport = await self._call("sweep", partition, request)
        return report

    async def past_get(
        self, partition: int, context: CallContext, cube_id: str, at: datetime
    ) -> MemCube:
        """Returns a memory as it was."""
        cube: MemCube = await self._call("past_get", partition, context, cube_id, at)
        return cube

    async def past_page(self, partition: int, request: PastPage) -> list[MemCube]:
        """Returns a page of a namespace as it was."""
        cubes: list[MemCube] = await self._call("past_page", partition, request)
        return cubes

    async def past_differences(self, partition: int, request: PastPage) -> Differences:
        """Compares two moments."""
        found: Differences = await self._call("past_differences", partition, request)
        return found

    async def go_back(self, partition: int, request: PastPage) -> Returned:
        """Takes memories back to a moment."""
        done: Returned = await self._call("go_back", partition, request)
        return done

    async def branches(self, partition: int, context: CallContext, namespace: str) -> list[Branch]:
        """Lists branches."""
        found: list[Branch] = await self._call("branches", partition, context, namespace)
        return found

    async def create_branch(
        self,
        partition: int,
        context: CallContext,
        namespace: str,
        name: str,
        at: datetime | None,
        reason: str | None,
    ) -> Branch:
        """Makes a branch."""
        made: Branch = await self._call(
            "create_branch", partition, context, namespace, name, at, reason
        )
        return made

    async def branch_view(
        self, partition: int, context: CallContext, namespace: str, name: str
    ) -> BranchView:
        """Says how a branch covers its namespace."""
        view: BranchView = await self._call("branch_view", partition, context, namespace, name)
        return view

    async def branch_get(
        self, partition: int, context: CallContext, namespace: str, name: str, cube_id: str
    ) -> MemCube:
        """Returns a memory as a branch shows it."""
        cube: MemCube = await self._call("branch_get", partition, context, namespace, name, cube_id)
        return cube

    async def branch_page(self, partition: int, request: BranchPage) -> list[MemCube]:
        """Returns a page of what a branch shows."""
        cubes: list[MemCube] = await self._call("branch_page", partition, request)
        return cubes

    async def branch_write(
        self, partition: int, namespace: str, name: str, submissions: Sequence[Submission]
    ) -> list[Written | MemosError]:
        """Commits writes in a branch."""
        outcomes: list[Written | MemosError] = await self._call(
            "branch_write", partition, namespace, name, submissions
        )
        return outcomes

    async def branch_differences(
        self, partition: int, context: CallContext, namespace: str, name: str
    ) -> list[Differing]:
        """Compares a branch with its moment."""
        found: list[Differing] = await self._call(
            "branch_differences", partition, context, namespace, name
        )
        return found

    async def merge_branch(
        self, partition: int, context: CallContext, namespace: str, name: str, reason: str | None
    ) -> Merged:
        """Merges a branch."""
        done: Merged = await self._call("merge_branch", partition, context, namespace, name, reason)
        return done

    async def discard_branch(
        self, partition: int, context: CallContext, namespace: str, name: str
    ) -> Branch:
        """Ends a branch."""
        gone: Branch = await self._call("discard_branch", partition, context, namespace, name)
        return gone

    async def snapshots(
        self, partition: int, context: CallContext, namespace: str
    ) -> list[Snapshot]:
        """Lists the named moments of a namespace."""
        found: list[Snapshot] = await self._call("snapshots", partition, context, namespace)
        return found

    async def take_snapshot(
        self, partition: int, context: CallContext, namespace: str, name: str, reason: str | None
    ) -> Snapshot:
        """Names this moment."""
        made: Snapshot = await self._call(
            "take_snapshot", partition, context, namespace, name, reason
        )
        return made

    async def forget_snapshot(
        self, partition: int, context: CallContext, namespace: str, name: str
    ) -> Snapshot:
        """Forgets a name."""
        gone: Snapshot = await self._call("forget_snapshot", partition, context, namespace, name)
        return gone

    async def own(self, partitions: Sequence[int]) -> None:
        """Takes partitions over."""
        await self._call("own", partitions, timeout_s=_BOOT_TIMEOUT_S)

    async def disown(self, partitions: Sequence[int]) -> None:
        """Gives partitions up."""
        await self._call("disown", partitions)

    async def status(self) -> ShardStatus:
        """Reports."""
        status: ShardStatus = await self._call("status")
        return status

    async def close(self) -> None:
        """Gives everything up and closes its stores."""
        await self._call("close")

    async def _call(self, method: str, *args: Any, timeout_s: float | None = None) -> Any:
        return unpack(await self._actor.call("call", method, pack(args), timeout_s=timeout_s))
