"""Filters over predicted tags: a part of a predicate becomes the memories that it holds of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from memos_ray.core.cube.facets import FacetValue
from memos_ray.core.cube.predicate import (
    AllOf,
    AnyOf,
    Not,
    OneOf,
    Predicate,
    Present,
)
from memos_ray.core.cube.predicted import CHOICES, FIELDS, Predicted
from memos_ray.core.organising.feelings import feelings
from memos_ray.core.organising.predicting import (
    credibility_of,
    sentiment_of,
    source_of,
)
from memos_ray.core.organising.topics import TopicView
from memos_ray.core.retrieval.columns import Mask
from memos_ray.core.retrieval.store import MemoryStore

_RULED = ("origin", "role", "semantic_type")


class PredictedColumns:
    """What the words of each memory of an index show, read once.

    Memory: ten bytes a memory, from the first filter on.
    """

    def __init__(self) -> None:
        self._keys: npt.NDArray[np.uint64] = np.zeros(0, np.uint64)
        self._moods: list[str] = []
        self._unsure: npt.NDArray[np.bool_] = np.zeros(0, np.bool_)

    def read(self, store: MemoryStore, most: int) -> bool:
        """Reads up to `most` texts that are new or changed; tells whether some are left."""
        keys = store.text_keys()[: store.frame.high]
        more = len(keys) - len(self._keys)
        if more > 0:
            self._keys = np.concatenate((self._keys, np.zeros(more, np.uint64)))
            self._unsure = np.concatenate((self._unsure, np.zeros(more, np.bool_)))
            self._moods.extend([""] * more)
        changed = np.flatnonzero(self._keys[: len(keys)] != keys)
        for slot in changed[:most].tolist():
            felt = feelings(store.texts[slot])
            self._moods[slot] = sentiment_of(felt).value
            self._unsure[slot] = felt.unsure
        self._keys[changed[:most]] = keys[changed[:most]]
        return len(changed) > most

    def holders(
        self, store: MemoryStore, kind: Predicted, values: tuple[str, ...], among: Mask
    ) -> Iterator[str]:
        """Ids of the memories, among those of a mask by slot, of which a value is predicted.

        A memory of which nothing has been read yet is none.
        """
        wanted, judged = frozenset(values), dict[tuple[object, ...], str]()
        columns = [store.frame.coded(name) for name in _RULED]
        for slot in np.flatnonzero(among[: len(self._keys)] & (self._keys > 0)).tolist():
            if kind is Predicted.SENTIMENT:
                value = self._moods[slot]
            else:
                codes = tuple(int(one.codes[slot]) if one else 0 for one in columns)
                unsure = kind is Predicted.CREDIBILITY and bool(self._unsure[slot])
                key = (*codes, unsure)
                if key not in judged:
                    judged[key] = _ruled(store, slot, kind, unsure)
                value = judged[key]
            if value in wanted:
                yield store.frame.ids[slot]


def asks_predicted(predicate: Predicate) -> bool:
    """Whether a predicate is about predicted tags anywhere."""
    return any(True for _ in leaves(predicate))


def asks_feelings(predicate: Predicate) -> bool:
    """Whether a predicate is about what the words of memories show."""
    return any(kind_of(leaf) is not Predicted.TOPIC for leaf in leaves(predicate))


def leaves(predicate: Predicate) -> Iterator[OneOf | Present]:
    """Yields the parts of a predicate that are about predicted tags."""
    match predicate:
        case Not(part):
            yield from leaves(part)
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from leaves(part)
        case OneOf(name) | Present(name):
            if name in FIELDS:
                yield predicate
        case _:
            pass


def settle(predicate: Predicate, found: Mapping[OneOf | Present, tuple[str, ...]]) -> Predicate:
    """Puts ids in the place of parts about predicted tags."""
    match predicate:
        case Not(part):
            return Not(settle(part, found))
        case AllOf(parts):
            return AllOf(tuple(settle(part, found) for part in parts))
        case AnyOf(parts):
            return AnyOf(tuple(settle(part, found) for part in parts))
        case OneOf(name) | Present(name) if name in FIELDS:
            return OneOf("id", found[predicate])
        case _:
            return predicate


def topic_codes(view: TopicView, leaf: OneOf | Present) -> tuple[int, ...]:
    """Codes of the concepts that a part about topics means."""
    if isinstance(leaf, Present):
        return view.codes
    return tuple(code for name in leaf.values for code in view.named(str(name)))


def values_of(leaf: OneOf | Present) -> tuple[str, ...]:
    """The values that a part asks for."""
    return (
        tuple(map(str, leaf.values)) if isinstance(leaf, OneOf) else tuple(CHOICES[kind_of(leaf)])
    )


def kind_of(leaf: OneOf | Present) -> Predicted:
    """What a part is about."""
    return FIELDS[leaf.field]


def _ruled(store: MemoryStore, slot: int, kind: Predicted, unsure: bool) -> str:
    facets: dict[str, FacetValue] = {}
    for name in _RULED:
        column = store.frame.coded(name)
        value = column.value(int(column.codes[slot])) if column is not None else None
        if value is not None:
            facets[name] = value
    if kind is Predicted.SOURCE:
        return source_of(facets)[0].value
    return credibility_of(facets, unsure).value
