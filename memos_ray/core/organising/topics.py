"""Topics: concepts that belong together, for one reader.

A reader's topics are made of the concepts' members that this reader may see, and of nothing else:
centres, counts, names and labels. Concepts are joined by Ward's method (1963) along chains of
nearest neighbours (Murtagh, 1983), down to about the square root of their number; a handful
stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
import numpy.typing as npt

from memos_ray.core.crossing import crossing
from memos_ray.core.cube.identity import digest
from memos_ray.core.organising.concepts import Concepts
from memos_ray.core.organising.labels import Labeller, Sample, best, together
from memos_ray.core.retrieval.columns import Mask
from memos_ray.core.retrieval.store import MemoryStore
from memos_ray.core.retrieval.views import quantise_rows

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
MOST_TOPICS = 32
_FEW = 6
_SAMPLES = 8
_SHOWN = 3
_NEVER = int(np.iinfo(np.int64).min)
_ID_DIGITS = 12


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What one reader may see of the concepts, copied out of the index.

    Attributes:
        codes: of the concepts with a visible member, by the oldest of them, `[c]`.
        sums: of the visible members' vectors, of many members estimated from some, `[c, dim]`.
        sizes: how many those are, `[c]`.
        founders: id of the oldest of them.
        samples: some of them, the most typical first, with their texts.
    """

    codes: IntArray
    sums: FloatArray
    sizes: IntArray
    founders: tuple[str, ...]
    samples: tuple[tuple[Sample, ...], ...]


@crossing
@dataclass(frozen=True, slots=True)
class Concept:
    """A concept, as a reader sees it.

    Attributes:
        id: follows from its oldest visible memory.
        code: what the index knows it by; says nothing outside.
        words: what sets it apart, the most telling first.
        memories: how many the reader may see.
        typical: ids of the most typical ones.
    """

    id: str
    code: int
    words: tuple[str, ...]
    memories: int
    typical: tuple[str, ...]


@crossing
@dataclass(frozen=True, slots=True)
class Topic:
    """Concepts that belong together, the largest first; fields as those of a concept.

    Attributes:
        title: in the words of the model `titled_by`; empty where there is none.
    """

    id: str
    words: tuple[str, ...]
    memories: int
    typical: tuple[str, ...]
    concepts: tuple[Concept, ...]
    title: str = ""
    titled_by: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class TopicView:
    """The topics of a namespace for one reader, the largest first.

    Attributes:
        codes: of the concepts, in the order of `centres`.
        centres: int8 `[c, dim]`, with their scales.
    """

    topics: tuple[Topic, ...]
    codes: tuple[int, ...]
    centres: npt.NDArray[np.int8]
    scales: npt.NDArray[np.float32]

    def of_code(self, code: int) -> tuple[Topic, Concept] | None:
        """The topic and the concept that a code stands for."""
        for topic in self.topics:
            for concept in topic.concepts:
                if concept.code == code:
                    return topic, concept
        return None

    def centre(self, code: int) -> FloatArray:
        """The centre of a concept, `[dim]`, as this reader sees it."""
        place = self.codes.index(code)
        centre: FloatArray = self.centres[place] * np.float64(self.scales[place])
        return centre

    def named(self, name: str) -> tuple[int, ...]:
        """Codes of the concepts that an id, a label or a word of one names."""
        wanted = name.casefold()
        found: dict[int, None] = {}
        for topic in self.topics:
            if _names(topic, wanted):
                found.update(dict.fromkeys(concept.code for concept in topic.concepts))
            found.update(dict.fromkeys(one.code for one in topic.concepts if _names(one, wanted)))
        return tuple(found)

    def nearest(self, vector: FloatArray, most: int) -> list[tuple[Topic, Concept, float]]:
        """The concept of each topic that is the most like a vector, the most alike topics first."""
        if not len(self.centres):
            return []
        length = float(np.sqrt(np.einsum("i,i->", vector, vector)))
        alike = np.einsum("ij,j->i", self.centres, vector / (length or 1.0)) * self.scales
        at = {code: place for place, code in enumerate(self.codes)}
        best = []
        for topic in self.topics:
            value, concept = max(
                ((float(alike[at[one.code]]), one) for one in topic.concepts),
                key=lambda pair: (pair[0], pair[1].id),
            )
            best.append((topic, concept, value))
        return sorted(best, key=lambda one: (-one[2], one[0].id))[:most]


def label_of(one: Topic | Concept) -> str:
    """The label of a topic or a concept, in the language of its memories."""
    if isinstance(one, Topic) and one.title:
        return one.title
    chinese = any(word and word[0] >= "\u2e80" for word in one.words)
    return ("\u3001" if chinese else ", ").join(one.words) or one.id


def look(concepts: Concepts, store: MemoryStore, visible: Mask) -> Seen:
    """Copies what one reader may see of the concepts; `visible` is by slot, `[high]`."""
    codes = np.where(visible, concepts.standing(store), 0)
    slots = np.flatnonzero(codes)
    times = store.frame.times(slots, ("created_at",), _NEVER)
    order = np.lexsort((times, codes[slots]))
    slots, times = slots[order], times[order]
    found, starts, sizes = np.unique(codes[slots], return_index=True, return_counts=True)
    founders = [
        min(store.frame.ids[slot] for slot in mine[at == at[0]].tolist())
        for mine, at in zip(_parts(slots, starts), _parts(times, starts), strict=True)
    ]
    sums = np.zeros((len(found), store.dim))
    samples: list[tuple[Sample, ...]] = []
    for place, mine in enumerate(_parts(slots, starts)):
        # Of what can be seen alone: a centre that others share would show that they are there.
        some = _evenly(mine)
        vectors = _vectors(store, some)
        sums[place] = vectors.sum(axis=0) * (len(mine) / len(some))
        samples.append(_typical(store, some, np.einsum("ij,j->i", vectors, sums[place])))
    # Codes are given in an order that depends on what is hidden.
    first = [int(at) for at in times[starts]]
    order = np.array(sorted(range(len(found)), key=lambda place: (first[place], founders[place])))
    order = order.astype(np.int64)
    return Seen(
        found[order].astype(np.int64),
        sums[order],
        sizes[order],
        tuple(founders[place] for place in order.tolist()),
        tuple(samples[place] for place in order.tolist()),
    )


def _parts(array: IntArray, starts: IntArray) -> list[IntArray]:
    return np.split(array, starts[1:]) if len(starts) else []


def topics(seen: Seen, labeller: Labeller) -> TopicView:
    """Joins concepts to topics and labels both."""
    scales, centres = quantise_rows(seen.sums.astype(np.float32))
    count = len(seen.codes)
    groups = join(seen.sums, seen.sizes, min(max(ceil(sqrt(count)), _FEW), MOST_TOPICS))
    words = [labeller.words(samples) for samples in seen.samples]
    concept_words = best(words)
    topic_words = best([together([words[place] for place in group]) for group in groups])
    made = [
        _topic(seen, group, telling, concept_words)
        for group, telling in zip(groups, topic_words, strict=True)
    ]
    made.sort(key=lambda topic: (-topic.memories, topic.id))
    return TopicView(tuple(made), tuple(seen.codes.tolist()), centres, scales)


def join(sums: FloatArray, sizes: IntArray, wanted: int) -> list[list[int]]:
    """Groups clusters, given by their sums and sizes, into `wanted` groups or fewer.

    Ward's distance follows from sums and sizes: no pair of members is looked at. Complexity:
    quadratic in the clusters.
    """
    count = len(sizes)
    if count <= wanted:
        return [[place] for place in range(count)]
    steps = sorted(_merges(sums, sizes), key=lambda step: step[0])[: count - wanted]
    into = list(range(count))

    def root(place: int) -> int:
        while into[place] != place:
            place = into[place]
        return place

    for _, one, other in steps:
        first, second = sorted((root(one), root(other)))
        into[second] = first
    groups: dict[int, list[int]] = {}
    for place in range(count):
        groups.setdefault(root(place), []).append(place)
    return list(groups.values())


def _merges(sums: FloatArray, sizes: IntArray) -> list[tuple[float, int, int]]:
    """The merges of Ward's method: a height and a member of each side, in the order of chains."""
    held = np.array(sizes, np.float64)
    means = sums / held[:, None]
    alive = np.ones(len(held), np.bool_)
    steps: list[tuple[float, int, int]] = []
    chain: list[int] = []
    while len(steps) < len(held) - 1:
        if not chain:
            chain.append(int(np.flatnonzero(alive)[0]))
        tip = chain[-1]
        apart = means - means[tip]
        far = np.einsum("ij,ij->i", apart, apart) * held * held[tip] / (held + held[tip])
        far[~alive] = np.inf
        far[tip] = np.inf
        near = int(far.argmin())
        if len(chain) > 1 and far[chain[-2]] <= far[near]:
            near = chain[-2]
        if len(chain) < 2 or near != chain[-2]:
            chain.append(near)
            continue
        steps.append((float(far[near]), tip, near))
        del chain[-2:]
        means[near] = (means[near] * held[near] + means[tip] * held[tip]) / (held[near] + held[tip])
        held[near] += held[tip]
        alive[tip] = False
    return steps


def _topic(
    seen: Seen,
    group: Sequence[int],
    words: tuple[str, ...],
    concept_words: Sequence[tuple[str, ...]],
) -> Topic:
    concepts = sorted(
        (
            Concept(
                _name(b"concept", seen.founders[place]),
                int(seen.codes[place]),
                concept_words[place],
                int(seen.sizes[place]),
                tuple(sample.id for sample in seen.samples[place][:_SHOWN]),
            )
            for place in group
        ),
        key=lambda one: (-one.memories, one.id),
    )
    typical = tuple(one.typical[0] for one in concepts[:_SHOWN])
    return Topic(
        _name(b"topic", min(seen.founders[place] for place in group)),
        words,
        sum(one.memories for one in concepts),
        typical,
        tuple(concepts),
    )


def _typical(store: MemoryStore, slots: IntArray, alike: FloatArray) -> tuple[Sample, ...]:
    """Those of some members that are the most like their centre, the most alike first."""
    order = sorted(
        (-value, store.frame.ids[slot], slot)
        for value, slot in zip(np.round(alike, 9).tolist(), slots.tolist(), strict=True)
    )
    return tuple(
        Sample(id, store.texts[slot], store.language_of(slot)) for _, id, slot in order[:_SAMPLES]
    )


def _evenly(slots: IntArray) -> IntArray:
    """Some members, taken evenly by when they were stored, so that it is the same everywhere."""
    return slots[:: max(1, -(-len(slots) // (4 * _SAMPLES)))]


def _vectors(store: MemoryStore, slots: IntArray) -> FloatArray:
    data, scales = store.own.rows(slots)
    vectors: FloatArray = data.astype(np.float64) * scales[:, None]
    return vectors


def _name(kind: bytes, founder: str) -> str:
    return digest(b"memos-topic-1", kind, founder.encode())[:_ID_DIGITS]


def _names(one: Topic | Concept, wanted: str) -> bool:
    words = (word.casefold() for word in one.words)
    return wanted in (one.id, label_of(one).casefold()) or wanted in words
