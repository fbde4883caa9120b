"""More wordings of questions, written by a model: what it is asked, and what is taken of it.

A model may write anything. So a wording is taken only when it keeps the names and numbers of what
it is about and brings in no others, has the answer beside it and not in it, is not too long, and is
none of the questions that there are: those that are held out stay so.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from memos_ray.core.generation import ChatMessage
from memos_ray.core.teaching.lessons import Item, of_another, plain_question
from memos_ray.core.teaching.probing import right

_MARK = re.compile(r"^\s*(?:[-*\u2022]|\(?\d{1,2}[.)])\s+")
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_WORD = re.compile(r"\w+")
_SEPARATOR = "|"
_QUOTES = " \t\"'`\u201c\u201d"
_LONGEST = 120
_TIMES = 3
_FEWEST = 2
_FEWEST_CJK = 4

_TASK = (
    "You write questions for an exam. You are given a statement, a question that it answers, and "
    "the answer. Write {count} other questions that ask for the same in other words, in the "
    "language of the statement. Keep every name and number of the question. Do not put the answer "
    "into a question. Write one question on each line, followed by ` | ` and its answer in the "
    "words of the statement. Write nothing else."
)


class Objection(StrEnum):
    """Why a wording is not taken."""

    FORM = "form"
    """It does not come with an answer, or is no sentence."""
    LENGTH = "length"
    NAMES = "names"
    """A name or number is missing, or new."""
    ANSWER = "answer"
    """Its answer is another one, or in the question."""
    REPEATED = "repeated"
    """It is there already, for this or something else, shown or held out."""


@dataclass(frozen=True, slots=True)
class Reworded:
    """What was taken of what a model wrote about one memory, and why the rest was not."""

    wordings: tuple[str, ...]
    objections: Counter[Objection]


def rewording_prompt(item: Item, count: int) -> tuple[ChatMessage, ...]:
    """Returns what to ask a model for further questions."""
    said = f"Statement: {item.of.text}\nQuestion: {item.shown[0]}\nAnswer: {item.answer}"
    return ChatMessage("system", _TASK.format(count=count)), ChatMessage("user", said)


def reworded(item: Item, said: str, most: int, taken: set[str]) -> Reworded:
    """Returns what can be taken of an answer to `rewording_prompt`.

    Args:
        most: wordings, at most.
        taken: all questions that there are, see `questions_of`; grows by those that are taken.
    """
    wordings: list[str] = []
    objections: Counter[Objection] = Counter()
    for line in said.splitlines():
        question, separator, answer = _MARK.sub("", line).partition(_SEPARATOR)
        if not line.strip() or len(wordings) == most:
            continue
        question = " ".join(question.strip(_QUOTES).split())
        objection = _objection(item, question, answer if separator else None, taken)
        if objection is None:
            wordings.append(question)
            taken.add(plain_question(question))
        else:
            objections[objection] += 1
    return Reworded(tuple(wordings), objections)


def _objection(item: Item, question: str, answer: str | None, taken: set[str]) -> Objection | None:
    cjk = not question.isascii() and any("\u4e00" <= letter <= "\u9fff" for letter in question)
    units, fewest = (len(question), _FEWEST_CJK) if cjk else (len(question.split()), _FEWEST)
    if answer is None or units < fewest:
        return Objection.FORM
    if len(question) > max(_LONGEST, _TIMES * max(map(len, item.shown))):
        return Objection.LENGTH
    if not _keeps_names(item, question):
        return Objection.NAMES
    if not right(answer, item.answer) or right(question, item.answer):
        return Objection.ANSWER
    return Objection.REPEATED if plain_question(question) in taken else None


def _keeps_names(item: Item, question: str) -> bool:
    text = " ".join(item.of.text.split())
    if item.statement is not None:
        subject = item.statement.subject
        # As it stands: it is exchanged for others in what must not be answered.
        if of_another(question, subject, "") == question:
            return False
        needed = set(_NUMBER.findall(item.statement.attribute))
    else:
        beginning = text.removesuffix(item.answer)
        needed = {*_NUMBER.findall(beginning), *_names(beginning)}
    numbers = set(_NUMBER.findall(question))
    if not needed <= numbers | set(_WORD.findall(question)):
        return False
    words = {each.casefold() for each in _WORD.findall(f"{text} {' '.join(item.shown)}")}
    return numbers <= set(_NUMBER.findall(text)) and all(
        each.casefold() in words for each in _names(question)
    )


def _names(text: str) -> list[str]:
    """Returns the words that begin with a capital, but for the first."""
    return [word for word in _WORD.findall(text)[1:] if word[:1].isupper()]
