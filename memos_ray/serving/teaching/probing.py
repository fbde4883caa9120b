"""Asks a model with an adapter and without it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from memos_ray.core.generation import ChatMessage
from memos_ray.core.parameter import AdapterPayload
from memos_ray.core.teaching import (
    Knowledge,
    ProbedStatement,
    TrainingSettings,
    probes,
    stated,
)
from memos_ray.serving.teaching.phrasings import phrasings_for
from memos_ray.serving.teaching.student import Student, computing


def probe(
    folder: Path,
    payload: AdapterPayload,
    knowledge: Sequence[Knowledge],
    settings: TrainingSettings,
) -> tuple[ProbedStatement, ...]:
    """Returns what the model says about memories with the adapter, and not without it.

    Args:
        folder: of the base model.
        knowledge: the memories as they were learnt.

    Raises:
        InvalidInputError: the adapter does not fit the model.
    """
    wanted = probes(knowledge, phrasings_for(folder))
    with computing(settings.threads):
        student = Student(folder, settings.device)
        student.use(payload)
        prompts = [
            student.prompt([ChatMessage("user", question)])
            for one in wanted
            for question in one.questions
        ]
        with student.as_base():
            without = student.texts(prompts, settings.answer_tokens)
        own = student.texts(prompts, settings.answer_tokens)
    found, start = [], 0
    for one in wanted:
        end = start + len(one.questions)
        found.append(stated(one, own[start:end], without[start:end]))
        start = end
    return tuple(each for each in found if each is not None)
