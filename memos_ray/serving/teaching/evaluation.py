"""Measures what the gate decides on: the base and an adapter, asked the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from memos_ray.core.parameter import AdapterPayload
from memos_ray.core.teaching import (
    GateFigures,
    Knowledge,
    Lesson,
    Lessons,
    PhrasingSet,
    Scores,
    plain_answer,
    right,
)
from memos_ray.errors import InvalidInputError
from memos_ray.serving.teaching.phrasings import phrasings_for
from memos_ray.serving.teaching.student import Student, computing


@dataclass(frozen=True, slots=True)
class ProbeSettings:
    """How an adapter is asked.

    Attributes:
        context_questions: which memories in the prompt answer.
        absent_questions: for what nobody said.
        answer_tokens: longest answer, where none longer is wanted.
        device, threads: see `TrainingSettings`.
    """

    context_questions: int = 100
    absent_questions: int = 100
    answer_tokens: int = 24
    device: str = "cpu"
    threads: int = 1


@dataclass(frozen=True, slots=True)
class _Exam:
    """All questions; what is right is known but for `absent`."""

    held_out: Sequence[Lesson]
    context: Sequence[Lesson]
    absent: Sequence[Lesson]
    foreign: Sequence[Lesson]


@dataclass(frozen=True, slots=True)
class _Marks:
    """What a model made of an exam."""

    scores: Scores
    absent: list[str]
    foreign: list[bool]


def examine(
    folder: Path,
    payload: AdapterPayload,
    knowledge: Sequence[Knowledge],
    *,
    foreign: Sequence[Knowledge] = (),
    seed: int = 0,
    probes: ProbeSettings = ProbeSettings(),
) -> GateFigures:
    """Asks the base model and the adapter.

    Args:
        folder: of the base model.
        knowledge: what the adapter was taught, in the order of its training.
        foreign: memories that it must not know: of other tenants, or deleted ones.
        seed: of the training, so that the wordings are held out that no batch had.

    Raises:
        InvalidInputError: the adapter does not fit the model, or nothing was taught.
    """
    known = phrasings_for(folder)
    lessons = Lessons(knowledge, known, seed=seed)
    exam = _Exam(
        lessons.held_out(),
        lessons.context_probes(probes.context_questions),
        lessons.absent_probes(probes.absent_questions),
        _askable(foreign, known, seed),
    )
    with computing(probes.threads):
        student = Student(folder, probes.device)
        student.use(payload)
        with student.as_base():
            base = _marks(student, exam, probes.answer_tokens)
        own = _marks(student, exam, probes.answer_tokens)
    kept = [before == after for before, after in zip(base.absent, own.absent, strict=True)]
    leaks = [after and not before for before, after in zip(base.foreign, own.foreign, strict=True)]
    return GateFigures(
        base=base.scores,
        adapter=own.scores,
        recall_asked=len(exam.held_out),
        in_context_asked=len(exam.context),
        absent_asked=len(exam.absent),
        absent_kept=_share(kept),
        foreign_asked=len(exam.foreign),
        leaked=sum(leaks),
    )


def exact(said: str, wanted: str) -> bool:
    """Tells whether an answer is the wanted one, but for capitals, width and outer punctuation."""
    return plain_answer(said) == plain_answer(wanted)


def _askable(
    knowledge: Sequence[Knowledge], known: Sequence[PhrasingSet], seed: int
) -> list[Lesson]:
    """Returns questions for memories; none where nothing can be asked about any of them."""
    try:
        return Lessons(knowledge, known, seed=seed).held_out()
    except InvalidInputError:
        return []


def _marks(student: Student, exam: _Exam, tokens: int) -> _Marks:
    context = [student.example(one) for one in exam.context]
    scores = Scores(
        recall=_share(_right(student, exam.held_out, tokens)),
        in_context=_share(_right(student, exam.context, tokens)),
        perplexity=student.perplexity(context),
    )
    return _Marks(
        scores,
        _answers(student, exam.absent, tokens),
        _right(student, exam.foreign, tokens),
    )


def _answers(student: Student, lessons: Sequence[Lesson], tokens: int) -> list[str]:
    return student.texts([student.prompt(one.messages) for one in lessons], tokens)


def _right(student: Student, lessons: Sequence[Lesson], tokens: int) -> list[bool]:
    wanted = [len(student.example(one).answer) for one in lessons]
    answers = _answers(student, lessons, max([tokens, *wanted]))
    return [right(said, one.answer or "") for said, one in zip(answers, lessons, strict=True)]


def _share(found: Sequence[bool]) -> float:
    return sum(found) / len(found) if found else 0.0
