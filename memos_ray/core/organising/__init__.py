"""Organising: which memories say the same, and which have been overtaken by newer ones."""

from memos_ray.core.organising.judging import Judgement, Kind, in_order, judge, moment_of
from memos_ray.core.organising.proposals import (
    Proposal,
    Proposed,
    proposal_id,
    propose,
    writes_of,
)
from memos_ray.core.organising.reports import OrganisingReport, ShownProposal
from memos_ray.core.organising.statements import Statement, statements

__all__ = [
    "Judgement",
    "Kind",
    "OrganisingReport",
    "Proposal",
    "Proposed",
    "ShownProposal",
    "Statement",
    "in_order",
    "judge",
    "moment_of",
    "proposal_id",
    "propose",
    "statements",
    "writes_of",
]
