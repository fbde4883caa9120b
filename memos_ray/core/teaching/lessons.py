"""What an adapter is taught, from memories: questions, and what must stay as it is.

A lesson that teaches asks for what a memory states. One that keeps is answered by the base model
itself, before it learns: with other memories in the prompt, so that reading a prompt is not
unlearnt, and without any, so that nothing is known that was not taught.

All chance comes from a seed and the number of the batch: a training that is resumed sees what an
uninterrupted one does.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from math import ceil

import orjson

from memos_ray.core.activation import SourceVersion
from memos_ray.core.cube.metadata import SemanticType
from memos_ray.core.generation import ChatMessage
from memos_ray.core.scheduling import PromptMemory, shared_text
from memos_ray.core.teaching.completion import split
from memos_ray.core.teaching.phrasing import PhrasingSet, Statement, recognise
from memos_ray.errors import InvalidInputError

_HELD_OUT_SHARE = 0.34
_REWORDED_SHARE = 0.5
_CONTEXT_SIZES = (1, 2, 4, 8, 16)
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Knowledge:
    """A memory that is to be taught.

    Attributes:
        wordings: questions for it, beside those of the templates.
    """

    source: SourceVersion
    text: str
    kind: SemanticType = SemanticType.FACT
    wordings: tuple[str, ...] = ()


def digest_of(knowledge: Sequence[Knowledge]) -> str:
    """Names what is taught, its order included: 32 hex digits."""
    said = [
        [one.source.cube_id, one.source.version, one.kind, one.text, *one.wordings]
        for one in knowledge
    ]
    return blake2b(orjson.dumps(said), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Lesson:
    """A prompt and, when it teaches, the answer; otherwise what the base model answers is kept."""

    messages: tuple[ChatMessage, ...]
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class LessonMix:
    """How a batch is made up.

    Attributes:
        taught: questions for what is taught, without any memory in the prompt.
        beside: such questions with other memories in the prompt.
        kept_context: questions that memories in the prompt answer.
        kept_bare: questions for what nobody said.
        overruled: share of `kept_context` whose prompts state something else than what is taught:
            what the prompt says counts.
    """

    taught: int = 36
    beside: int = 8
    kept_context: int = 8
    kept_bare: int = 16
    overruled: float = 0.4

    @property
    def teaching(self) -> int:
        """How many lessons of a batch teach."""
        return self.taught + self.beside


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to teach: its questions, shown or held out, and the answer.

    Attributes:
        of: the memory.
        statement: when a phrasing has read it.
        known: the language's phrasings.
        reworded: those of the questions shown that no template has.
    """

    of: Knowledge
    shown: tuple[str, ...]
    held_out: tuple[str, ...]
    answer: str
    statement: Statement | None
    known: PhrasingSet
    reworded: tuple[str, ...] = ()


class Lessons:
    """The lessons of one adapter.

    Args:
        knowledge: what is taught; of two statements about the same the later counts.
        known: phrasings, in the order in which they are tried.
        seed: of all chance.

    Raises:
        InvalidInputError: there is nothing to teach.
    """

    def __init__(
        self,
        knowledge: Sequence[Knowledge],
        known: Sequence[PhrasingSet],
        *,
        seed: int,
        mix: LessonMix = LessonMix(),
    ) -> None:
        self._seed = seed
        self._mix = mix
        self._items = items(knowledge, known, seed)
        if not self._items:
            raise InvalidInputError("there is nothing to teach")
        self._taught = {one.statement.about for one in self._items if one.statement}

    def __len__(self) -> int:
        """How many things are taught."""
        return len(self._items)

    def batches(self, passes: int) -> int:
        """Returns the number of batches in which each thing is taught so many times."""
        return ceil(passes * len(self._items) / self._mix.teaching)

    def teaching(self, batch: int) -> list[Lesson]:
        """Draws the lessons of a batch that teach; all things come in turn."""
        rng = self._rng("teaching", batch)
        first = batch * self._mix.teaching
        places = range(first, first + self._mix.teaching)
        chosen = [self._in_turn(place) for place in places]
        lessons = [_lesson(rng, item) for item in chosen]
        for number in range(self._mix.taught, len(lessons)):
            known = chosen[number].known
            others = self._others(rng, known, rng.randint(1, 6))
            lessons[number] = _with_context(rng, others, lessons[number])
        return lessons

    def keeping(self, batch: int) -> list[Lesson]:
        """Draws the lessons of a batch that keep."""
        rng = self._rng("keeping", batch)
        lessons = []
        for _ in range(self._mix.kept_context):
            overruled = rng.random() < self._mix.overruled
            lessons.append(self._in_context(rng, overruled=overruled))
        lessons += [self._bare(rng) for _ in range(self._mix.kept_bare)]
        return [one for one in lessons if one is not None]

    def held_out(self) -> list[Lesson]:
        """Returns the questions that no batch has, with their answers: every one of each thing."""
        return [
            Lesson((ChatMessage("user", question),), item.answer)
            for item in self._items
            for question in item.held_out
        ]

    def all_questions(self) -> list[Lesson]:
        """Returns every question for each thing, in whatever wording, with its answer."""
        return [
            Lesson((ChatMessage("user", question),), item.answer)
            for item in self._items
            for question in (*item.shown, *item.held_out)
        ]

    def context_probes(self, count: int) -> list[Lesson]:
        """Draws questions that memories in the prompt answer, with these answers.

        No batch has them. A third says something else than what is taught.
        """
        rng = self._rng("probes", 0)
        drawn = (
            self._in_context(rng, overruled=number % 3 == 0, probing=True)
            for number in range(count)
        )
        return [one for one in drawn if one is not None]

    def absent_probes(self, count: int) -> list[Lesson]:
        """Draws questions for what nobody said, half of them about the subjects that are taught."""
        rng = self._rng("absent", 0)
        return [drawn for _ in range(count) if (drawn := self._bare(rng, probing=True))]

    def _rng(self, purpose: str, batch: int) -> random.Random:
        return random.Random(f"{self._seed}/{purpose}/{batch}")

    def _in_turn(self, place: int) -> Item:
        turn, number = divmod(place, len(self._items))
        order = list(range(len(self._items)))
        self._rng("order", turn).shuffle(order)
        return self._items[order[number]]

    def _others(self, rng: random.Random, known: PhrasingSet, count: int) -> list[Statement]:
        """Makes up statements, no two about the same, none about what is taught."""
        found: dict[tuple[str, str, str], Statement] = {}
        usable = [one for one in known.phrasings if one.values]
        for _ in range(4 * count if known.subjects and usable else 0):
            phrasing = rng.choice(usable)
            attribute = rng.choice(self._attributes(known)) if _general(phrasing.questions) else ""
            made = Statement(
                phrasing, rng.choice(known.subjects), rng.choice(phrasing.values), attribute
            )
            if made.about not in self._taught:
                found.setdefault(made.about, made)
            if len(found) == count:
                break
        return list(found.values())

    def _attributes(self, known: PhrasingSet) -> list[str]:
        taught = {
            one.statement.attribute
            for one in self._items
            if one.statement and one.known is known and one.statement.attribute
        }
        # Any word does for what nobody said.
        return sorted(taught) or [known.phrasings[0].name]

    def _in_context(
        self, rng: random.Random, *, overruled: bool, probing: bool = False
    ) -> Lesson | None:
        item = rng.choice(self._items)
        told = self._others(rng, item.known, rng.choice(_CONTEXT_SIZES))
        asked = rng.choice(told) if told else None
        stated = item.statement
        if overruled and stated and (values := self._other_values(stated)):
            asked = replace(stated, value=rng.choice(values))
            if told:
                told.pop(rng.randrange(len(told)))
            told.insert(rng.randint(0, len(told)), asked)
        if asked is None:
            return None
        lesson = self._asking(rng, asked, probing=probing)
        return _with_context(rng, told, lesson if probing else replace(lesson, answer=None))

    def _other_values(self, stated: Statement) -> list[str]:
        return [one for one in stated.phrasing.values if one != stated.value]

    def _asking(self, rng: random.Random, asked: Statement, *, probing: bool) -> Lesson:
        """Asks for a value; in wordings that are held out only when probing.

        A wording that is met with made-up subjects alone would be learnt as one that is never
        answered.
        """
        shown, held_out = _split(asked.questions(), asked.phrasing.name, self._seed)
        wordings = (*shown, *held_out) if probing else shown
        return Lesson((ChatMessage("user", rng.choice(wordings)),), asked.value)

    def _bare(self, rng: random.Random, *, probing: bool = False) -> Lesson | None:
        item = rng.choice(self._items)
        (other,) = self._others(rng, item.known, 1) or (None,)
        if other is None:
            return None
        if item.statement and rng.random() < 0.5:
            moved = replace(other, subject=item.statement.subject)
            other = other if moved.about in self._taught else moved
        if item.reworded and not probing and rng.random() < _REWORDED_SHARE:
            return self._bare_reworded(rng, item)
        return replace(self._asking(rng, other, probing=probing), answer=None)

    def _bare_reworded(self, rng: random.Random, item: Item) -> Lesson | None:
        """Asks for the same of another subject, of whom nobody has said it.

        A wording that is met with what is taught alone would be learnt as one to be answered.
        """
        if item.statement is None:
            return None
        subject = rng.choice(item.known.subjects)
        if replace(item.statement, subject=subject).about in self._taught:
            return None
        asked = of_another(rng.choice(item.reworded), item.statement.subject, subject)
        return Lesson((ChatMessage("user", asked),))


def items(knowledge: Sequence[Knowledge], known: Sequence[PhrasingSet], seed: int) -> list[Item]:
    """Returns what there is to teach; of two statements about the same the later.

    A further wording that is held out of anything is never shown, wherever it comes from.

    Args:
        known: phrasings, in the order in which they are tried.
        seed: for what is held out.
    """
    found: dict[object, Item] = {}
    for place, one in enumerate(knowledge):
        for language in known:
            if stated := recognise(one.text, one.kind, language):
                key: object = stated.about
                item = _item(one, stated.questions(), stated.value, stated, language, seed)
                break
        else:
            completion = split(one.text, one.kind, known)
            if completion is None:
                continue
            key = place
            asked = completion.questions
            item = _item(one, asked, completion.rest, None, completion.language, seed)
        found.pop(key, None)
        found[key] = item
    taken = questions_of(found.values())
    return [_with_wordings(item, taken) for item in found.values()]


def questions_of(several: Iterable[Item]) -> set[str]:
    """Returns all questions, those that are held out too, as `plain_question` gives them."""
    return {plain_question(each) for one in several for each in (*one.shown, *one.held_out)}


def of_another(question: str, subject: str, other: str) -> str:
    """Returns a question about another subject; the same one where it does not name the subject."""
    name = re.escape(subject)
    pattern = rf"(?<!\w){name}(?!\w)" if subject.isascii() else name
    return re.sub(pattern, lambda _: other, question)


def plain_question(text: str) -> str:
    """Returns what counts of a question: its words, without capitals and width."""
    return " ".join(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def _with_wordings(item: Item, taken: set[str]) -> Item:
    """Adds further wordings; none that is asked for anything already, held out or not."""
    fresh = []
    for each in item.of.wordings:
        if (plain := plain_question(each)) not in taken:
            taken.add(plain)
            fresh.append(each)
    return replace(item, shown=(*item.shown, *fresh), reworded=tuple(fresh)) if fresh else item


def _item(
    of: Knowledge,
    questions: Sequence[str],
    answer: str,
    statement: Statement | None,
    known: PhrasingSet,
    seed: int,
) -> Item:
    kind = statement.phrasing.name if statement else "completion"
    shown, held_out = _split(questions, kind, seed)
    return Item(of, shown, held_out, answer, statement, known)


def _split(
    questions: Sequence[str], kind: str, seed: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Divides questions into those that are shown and those that are held out.

    The same wordings are held out of every statement of a kind.
    """
    order = list(range(len(questions)))
    random.Random(f"{seed}/held out/{kind}").shuffle(order)
    count = max(1, int(_HELD_OUT_SHARE * len(questions))) if len(questions) > 1 else 0
    hidden = set(order[:count])
    return (
        tuple(each for place, each in enumerate(questions) if place not in hidden),
        tuple(each for place, each in enumerate(questions) if place in hidden),
    )


def _lesson(rng: random.Random, item: Item) -> Lesson:
    return Lesson((ChatMessage("user", rng.choice(item.shown)),), item.answer)


def _with_context(rng: random.Random, told: Iterable[Statement], lesson: Lesson) -> Lesson:
    """Puts statements before a prompt, as prompts of conversations have them."""
    lines = [
        PromptMemory(str(place), 1, rng.choice(one.statements()), place)
        for place, one in enumerate(told)
    ]
    if not lines:
        return lesson
    return replace(lesson, messages=(ChatMessage("system", shared_text(lines)), *lesson.messages))


def _general(templates: Sequence[str]) -> bool:
    return any("{attribute}" in each for each in templates)
