"""Trusted sources: what is added, what it was found to supersede, and what is decided."""

from __future__ import annotations

from base64 import b64decode
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from memos_ray.core.cube.metadata import Visibility
from memos_ray.core.organising import Proposed
from memos_ray.core.reader.formats import Format
from memos_ray.core.sources import Kind, Stage
from memos_ray.gateway.fields import MemoryId, Model, Moment, Name, printable
from memos_ray.gateway.problem_model import Problem

FINDINGS_MAX = 200
"""Most findings of one answer, and of one decision by ids."""

_Document = Annotated[
    str, StringConstraints(min_length=1, max_length=8 << 20), AfterValidator(printable)
]


def _encoded(value: str) -> str:
    try:
        b64decode(value, validate=True)
    except ValueError:
        raise ValueError("no base64") from None
    return value


_Pdf = Annotated[
    str, StringConstraints(min_length=1, max_length=12 << 20), AfterValidator(_encoded)
]
_ShortName = Annotated[
    str, StringConstraints(min_length=1, max_length=128), AfterValidator(printable)
]


class NewSource(Model):
    """An edition of an authoritative document.

    All editions of a document have one `name` and one `issuer`. `trust` ranks sources: what one of
    a higher rank has said is overruled by nobody unasked. `valid_from` is when it begins to hold.
    The document is either `text`, in one of the formats, or `pdf`, base64.
    """

    name: _ShortName
    issuer: _ShortName
    trust: Annotated[int, Field(ge=1, le=100)] = 50
    valid_from: Moment
    text: _Document | None = None
    pdf: _Pdf | None = None
    format: Literal["markdown", "text"] = "markdown"
    language: Name | None = None
    visibility: Visibility | None = None

    @model_validator(mode="after")
    def _one(self) -> NewSource:
        if (self.text is None) is (self.pdf is None):
            raise ValueError("give either a text or a PDF")
        return self

    @property
    def document(self) -> bytes:
        """What is read, byte for byte."""
        return b64decode(self.pdf) if self.pdf is not None else (self.text or "").encode()

    @property
    def read_as(self) -> Format:
        """By which reader."""
        return Format(self.format) if self.pdf is None else Format.PDF


class SourceInfo(Model):
    """A source. `compared` of its `sections` have been compared with what is held.

    `pages_without_text` are those of a PDF of which nothing was read, told to who adds it.
    """

    id: str
    namespace: str
    name: str
    issuer: str
    trust: int
    valid_from: datetime
    stage: Stage
    sections: int
    compared: int
    added_by: str
    added_at: datetime
    pages_without_text: list[int] = []


class SourceList(Model):
    """The sources of a namespace, by name, the newest edition first."""

    sources: list[SourceInfo]


class FindingInfo(Model):
    """Something held that a source supersedes.

    Accepting it ends the validity of `held` where the source begins to hold, or at once for what
    was said later; nothing is deleted. `contradicted`: a section says otherwise; `revised` and
    `unchanged`: a section of an older edition has a new one in its place; `withdrawn`: it has none.
    `outranked`: a source of a higher rank has said what is held; it is accepted by its id only.
    """

    id: str
    source: str
    source_title: str
    kind: Kind
    state: Proposed
    confidence: float
    outranked: bool
    held: str
    held_text: str
    replacing: str | None
    replacing_text: str | None
    reasons: list[str]
    found_at: datetime
    decided_by: str | None
    decided_at: datetime | None


class FindingList(Model):
    """Findings, the surest first; what has been decided makes room for the next ones."""

    findings: list[FindingInfo]


class Deciding(Model):
    """Which findings: those of `ids`, or all of `source` in which it is not outranked."""

    ids: Annotated[list[MemoryId], Field(max_length=FINDINGS_MAX)] | None = None
    source: MemoryId | None = None

    @model_validator(mode="after")
    def _one(self) -> Deciding:
        if (self.ids is None) is (self.source is None):
            raise ValueError("give either ids or a source")
        return self


class DecidedFinding(Model):
    """The outcome for one finding: `error` is set when, and only when, nothing was decided."""

    id: str
    finding: FindingInfo | None = None
    error: Problem | None = None


class DecisionReport(Model):
    """The outcomes of a decision; `more` says that the source has further findings to decide."""

    results: list[DecidedFinding]
    more: bool = False
