"""The world's relations as phrasings, by which memories are taught to the model."""

from __future__ import annotations

from pathlib import Path

from memos_ray.core.cube.metadata import SemanticType
from memos_ray.core.teaching import Phrasing, PhrasingSet, to_json
from memos_ray.testing.recall.world import RELATIONS, names

FILE = "phrasings.json"


def recall_phrasings() -> PhrasingSet:
    """Returns all wordings that the model understands."""
    return PhrasingSet(
        language="en",
        phrasings=tuple(
            Phrasing(
                relation.name,
                statements=tuple(map(_template, relation.statements)),
                questions=tuple(map(_template, relation.questions)),
                values=relation.values,
            )
            for relation in RELATIONS.values()
        ),
        subjects=names(),
        completions={kind: () for kind in SemanticType},
    )


def save_phrasings(folder: Path) -> None:
    """Writes them beside the model, where a training looks for them."""
    (folder / FILE).write_bytes(to_json(recall_phrasings()))


def _template(text: str) -> str:
    return text.replace("{name}", "{subject}")
