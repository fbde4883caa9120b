"""Teaching memories to a model: what it is asked, how it is trained, and whether it passes."""

from __future__ import annotations

from memos_ray.core.teaching.gate import (
    GateFigures,
    GateReport,
    GateThresholds,
    Scores,
    Verdict,
    decide,
)
from memos_ray.core.teaching.lessons import (
    Item,
    Knowledge,
    Lesson,
    LessonMix,
    Lessons,
    digest_of,
    items,
    questions_of,
)
from memos_ray.core.teaching.paraphrasing import (
    Objection,
    Reworded,
    reworded,
    rewording_prompt,
)
from memos_ray.core.teaching.phrasing import (
    Phrasing,
    PhrasingSet,
    Statement,
    from_json,
    recognise,
    to_json,
)
from memos_ray.core.teaching.phrasings import BUILT_IN, CHINESE, ENGLISH
from memos_ray.core.teaching.probing import (
    Probe,
    ProbedStatement,
    plain_answer,
    probes,
    right,
    stated,
)
from memos_ray.core.teaching.report import as_markdown, loss_plot
from memos_ray.core.teaching.settings import LINEAR_LAYERS, TrainingSettings

__all__ = [
    "BUILT_IN",
    "CHINESE",
    "ENGLISH",
    "LINEAR_LAYERS",
    "GateFigures",
    "GateReport",
    "GateThresholds",
    "Item",
    "Knowledge",
    "Lesson",
    "LessonMix",
    "Lessons",
    "Objection",
    "Phrasing",
    "PhrasingSet",
    "Probe",
    "ProbedStatement",
    "Reworded",
    "Scores",
    "Statement",
    "TrainingSettings",
    "Verdict",
    "as_markdown",
    "decide",
    "digest_of",
    "from_json",
    "items",
    "loss_plot",
    "plain_answer",
    "probes",
    "questions_of",
    "recognise",
    "reworded",
    "rewording_prompt",
    "right",
    "stated",
    "to_json",
]
