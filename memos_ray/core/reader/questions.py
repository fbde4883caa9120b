"""Question sets of retrieval benchmarks, in the LoCoMo and the neutral layout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from memos_ray.core.reader import locomo
from memos_ray.core.reader.dialogue import Conversation, parse_conversations
from memos_ray.core.reader.messages import UnreadableItemError, name_of
from memos_ray.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class Question:
    """One question about a conversation.

    Attributes:
        text: the question.
        gold: ids of the turns that answer it, without repetition; empty when it has no answer.
        category: kind of question, as the data set names it.
        answer: the expected answer, when given.
        conversation: id of the conversation; turn ids are unique only inside it.
    """

    text: str
    gold: tuple[str, ...]
    category: str
    answer: str | None
    conversation: str


def read_questions(data: bytes) -> tuple[Question, ...]:
    """Reads the questions of a file; references to turns that do not exist are dropped.

    Raises:
        InvalidInputError: not JSON, or a question without text.
        UnsupportedFormatError: neither layout.
    """
    found: list[Question] = []
    for number, conversation in enumerate(parse_conversations(data), 1):
        identity = conversation.id or f"conversation-{number}"
        try:
            found.extend(_questions(conversation, identity))
        except UnreadableItemError as error:
            raise InvalidInputError(str(error), conversation=identity) from None
    return tuple(found)


def _questions(conversation: Conversation, identity: str) -> Iterator[Question]:
    known = {i for t in conversation.turns if isinstance(t, dict) and (i := name_of(t.get("id")))}
    for value in conversation.questions:
        text = name_of(value.get("question")) if isinstance(value, dict) else None
        if text is None or not isinstance(value, dict):
            raise InvalidInputError("a question without text", conversation=identity)
        answer = value.get("answer", value.get("adversarial_answer"))
        yield Question(
            text=text,
            gold=_gold(value, known),
            category=_category(value.get("category")),
            answer=None if answer is None else str(answer),
            conversation=identity,
        )


def _gold(value: dict[str, object], known: set[str]) -> tuple[str, ...]:
    references = value.get("evidence")
    if isinstance(references, list):
        return locomo.evidence(references, known)
    listed = value.get("gold")
    names = [name_of(item) for item in listed] if isinstance(listed, list) else []
    return tuple(dict.fromkeys(name for name in names if name in known and name is not None))


def _category(value: object) -> str:
    if isinstance(value, int):
        return locomo.CATEGORIES.get(value, str(value))
    return name_of(value) or "unknown"
