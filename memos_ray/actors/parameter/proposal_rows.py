"""Proposals at rest, as rows of the record store."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b

import orjson

from memos_ray.actors.vault.residency import Place
from memos_ray.core.activation import SourceVersion
from memos_ray.core.parameter import ProposalReport, ProposedMemory
from memos_ray.core.scheduling import LessonPlan
from memos_ray.ports import Derivation

KIND = "proposal"
_ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a model is proposed to learn, or somebody has refused to have it taught."""

    place: Place
    report: ProposalReport
    refused: bool = False

    @property
    def model(self) -> str:
        """Which model."""
        return self.report.model

    @property
    def sources(self) -> frozenset[SourceVersion]:
        """The memories at the versions that are proposed."""
        return frozenset(self.report.sources)

    @property
    def fresh(self) -> frozenset[SourceVersion]:
        """Those that the model does not know yet."""
        return frozenset(one.source for one in self.report.memories if not one.learnt)


def proposal_from(place: Place, model: str, plan: LessonPlan, now: datetime) -> Proposal:
    """Makes a proposal; its id follows from what is proposed."""
    said = [[one.cube_id, one.version] for one in sorted(plan.sources, key=lambda one: one.cube_id)]
    named = orjson.dumps([place.tenant, place.namespace, model, said])
    report = ProposalReport(
        id=blake2b(named, digest_size=_ID_BYTES).hexdigest(),
        namespace=place.namespace,
        model=model,
        memories=plan.memories,
        tokens=plan.tokens,
        saved_s=plan.saved_s,
        lesson_s=plan.lesson_s,
        reasons=plan.reasons,
        since=now,
    )
    return Proposal(place, report)


def row_of(proposal: Proposal) -> Derivation:
    """Returns the row of a proposal; it has no file."""
    place, report = proposal.place, proposal.report
    body = orjson.dumps(
        {
            "model": report.model,
            "refused": proposal.refused,
            "memories": [
                {
                    "id": one.source.cube_id,
                    "version": one.source.version,
                    "uses": one.uses,
                    "conversations": one.conversations,
                    "tokens": one.tokens,
                    "settled_s": one.settled_s,
                    "saved_s": one.saved_s,
                    "learnt": one.learnt,
                }
                for one in report.memories
            ],
            "tokens": report.tokens,
            "saved_s": report.saved_s,
            "lesson_s": report.lesson_s,
            "reasons": report.reasons,
            "since": report.since.isoformat(),
        }
    )
    return Derivation(place.tenant, KIND, report.id, place.namespace, "", 0, body)


def proposal_of(partition: int, row: Derivation) -> Proposal:
    """Rebuilds a proposal from its row."""
    body = orjson.loads(row.body)
    report = ProposalReport(
        id=row.name,
        namespace=row.namespace,
        model=body["model"],
        memories=tuple(
            ProposedMemory(
                SourceVersion(one["id"], one["version"]),
                one["uses"],
                one["conversations"],
                one["tokens"],
                one["settled_s"],
                one["saved_s"],
                one["learnt"],
            )
            for one in body["memories"]
        ),
        tokens=body["tokens"],
        saved_s=body["saved_s"],
        lesson_s=body["lesson_s"],
        reasons=tuple(body["reasons"]),
        since=datetime.fromisoformat(body["since"]),
    )
    return Proposal(Place(partition, row.tenant, row.namespace), report, body["refused"])
