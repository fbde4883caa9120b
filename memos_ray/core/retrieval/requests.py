"""What a gateway asks of a shard when it searches, and what it gets."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import numpy.typing as npt

from memos_ray.core.access.context import CallContext
from memos_ray.core.crossing import crossing
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.predicate import Everything, Predicate
from memos_ray.core.retrieval.query import Nameless, QueryHints, Scored


@crossing
@dataclass(frozen=True, slots=True, eq=False)
class SearchRequest:
    """One search in one partition's share of a namespace.

    Attributes:
        vector: embedding of `text`, `[dim]`; absent: only lexical signals speak.
        space: digest of the embedding space of `vector`.
        as_of: searches what was current at that moment instead of now.
        archived: searches what has been put away, instead of what is in use.
        after_lsn: read-your-writes: the log must have come at least this far.
        indexed: waits until everything up to the newest write is embedded.
        nameless, legible, min_relevance: see `RetrievalQuery`.
    """

    context: CallContext
    namespace: str
    text: str
    vector: npt.NDArray[np.float32] | None = None
    space: str = ""
    predicate: Predicate = field(default_factory=Everything)
    hints: QueryHints = field(default_factory=QueryHints)
    k: int = 10
    offset: int = 0
    explain: bool = True
    as_of: datetime | None = None
    after_lsn: int = 0
    indexed: bool = False
    nameless: tuple[Nameless, ...] = ()
    legible: float = 1.0
    min_relevance: float = 0.0
    archived: bool = False


@crossing
@dataclass(frozen=True, slots=True)
class Hit:
    """One memory that a search found, with its score and where the score comes from."""

    cube: MemCube
    scored: Scored


@crossing
@dataclass(frozen=True, slots=True)
class SearchReply:
    """Answer of one shard.

    Attributes:
        lsn: how far the log had come.
        unembedded: memories that only the lexical signals could see so far.
        partial: memories may be missing, because the vector store has not caught up.
        resident: whether the namespace was searched exactly, in RAM.
        hops: remote calls made in sequence, this one included.
    """

    hits: tuple[Hit, ...]
    lsn: int
    unembedded: int
    resident: bool
    hops: int
    partial: bool = False
