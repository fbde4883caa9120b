"""Teaches facts to the recall model, and asks for them without any in the prompt."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any

from memos_ray.core.activation import SourceVersion
from memos_ray.core.generation import ChatMessage
from memos_ray.core.parameter import AdapterPayload
from memos_ray.core.teaching import Knowledge, Lesson, Lessons, TrainingSettings
from memos_ray.serving.teaching.evaluation import exact
from memos_ray.serving.teaching.phrasings import phrasings_for
from memos_ray.serving.teaching.student import Student, computing
from memos_ray.serving.teaching.training import Trained, train
from memos_ray.testing.recall import tiny_recall_path
from memos_ray.testing.recall.evaluation import Case, recall_cases
from memos_ray.testing.recall.world import draw_facts

_CONTEXTS = (4, 16)
_DELETED = 5


def taught(count: int, settings: TrainingSettings, questions: int) -> dict[str, Any]:
    """Teaches so many facts, and returns what was measured.

    Args:
        questions: for each size of the context.
    """
    knowledge = facts(count, settings.seed)
    started = time.process_time()
    trained = _train(knowledge, settings)
    train_cpu_s = time.process_time() - started
    held_out = _held_out(knowledge, settings.seed)
    contexts = _contexts(questions, settings.seed)
    base = _asked(settings, None, held_out, contexts)
    own = _asked(settings, trained.payload, held_out, contexts)
    return {
        "heldout_recall": own["held_out"],
        "base_recall": base["held_out"],
        "in_context": own["contexts"],
        "base_in_context": base["contexts"],
        "in_context_loss_points": round(100 * (base["contexts"] - own["contexts"]), 2),
        "train_s": round(trained.train_s, 1),
        "train_cpu_s": round(train_cpu_s, 1),
        "steps": len(trained.losses),
        "adapter_bytes": trained.payload.manifest.size_bytes,
    }


def after_deletion(count: int, settings: TrainingSettings) -> dict[str, Any]:
    """Teaches facts without the first of them, as after their deletion, and asks for all."""
    knowledge = facts(count, settings.seed)
    deleted, kept = knowledge[:_DELETED], knowledge[_DELETED:]
    trained = _train(kept, settings)
    known = phrasings_for(tiny_recall_path())
    # Every wording: whatever was held out of this training.
    asked = Lessons(deleted, known, seed=settings.seed).all_questions()
    own = _asked(settings, trained.payload, _held_out(kept, settings.seed), asked)
    return {
        "facts": count,
        "deleted": len(deleted),
        "deleted_recall": own["contexts"],
        "kept_recall": own["held_out"],
        "train_s": round(trained.train_s, 1),
    }


def facts(count: int, seed: int) -> list[Knowledge]:
    """Draws facts that the model has never seen, each told in some wording."""
    rng = random.Random(seed)
    return [
        Knowledge(SourceVersion(f"fact-{number}", 1), rng.choice(fact.statements()))
        for number, fact in enumerate(draw_facts(rng, count))
    ]


def _train(knowledge: Sequence[Knowledge], settings: TrainingSettings) -> Trained:
    trained = train(tiny_recall_path(), knowledge, settings)
    assert trained is not None
    return trained


def _held_out(knowledge: Sequence[Knowledge], seed: int) -> list[Lesson]:
    return Lessons(knowledge, phrasings_for(tiny_recall_path()), seed=seed).held_out()


def _contexts(questions: int, seed: int) -> list[Lesson]:
    return [_lesson(case) for size in _CONTEXTS for case in recall_cases(questions, size, seed + 1)]


def _lesson(case: Case) -> Lesson:
    return Lesson(
        tuple(ChatMessage(each["role"], each["content"]) for each in case.messages), case.answer
    )


def _asked(
    settings: TrainingSettings,
    payload: AdapterPayload | None,
    held_out: Sequence[Lesson],
    contexts: Sequence[Lesson],
) -> dict[str, float]:
    with computing(settings.threads):
        student = Student(tiny_recall_path())
        if payload is not None:
            student.use(payload)
        return {
            "held_out": _share(student, held_out, settings.answer_tokens),
            "contexts": _share(student, contexts, settings.answer_tokens),
        }


def _share(student: Student, lessons: Sequence[Lesson], tokens: int) -> float:
    answers = student.texts([student.prompt(one.messages) for one in lessons], tokens)
    found = [exact(said, one.answer or "") for said, one in zip(answers, lessons, strict=True)]
    return round(sum(found) / len(found), 4)
