"""Signs of use that nobody has to give: words that come back, questions that are asked again."""

from __future__ import annotations

import re
from collections.abc import Sequence

from memos_ray.core.retrieval.text import fold, is_unspaced, split_words

PART_CHARS = 300
"""A part of a memory is closed when it is this long."""

# Behind the marks that end a sentence, those of Chinese included, and at line ends.
_SENTENCE = re.compile("(?<=[.!?])\\s+|(?<=[\u3002\uff01\uff1f])\\s*|\n+")
_WORD_CHARS = 4
_ENOUGH_WORDS, _ENOUGH_SHARE = 3, 0.5
_SAME = 0.8


def parts_of(text: str) -> list[str]:
    """Cuts a text into parts of whole sentences, of `PART_CHARS` or one sentence at least.

    Nothing but white space between the parts is lost; a short rest joins the part before it.
    """
    parts: list[str] = []
    open_ = ""
    for sentence in sentences_of(text):
        open_ = f"{open_} {sentence}" if open_ else sentence
        if len(open_) >= PART_CHARS:
            parts.append(open_)
            open_ = ""
    if open_:
        if parts and len(open_) < PART_CHARS // 2:
            parts[-1] = f"{parts[-1]} {open_}"
        else:
            parts.append(open_)
    return parts


def sentences_of(text: str) -> list[str]:
    """Cuts a text into sentences and lines."""
    pieces = (piece.strip() for piece in _SENTENCE.split(text))
    return [piece for piece in pieces if piece]


def echoed(text: str, question: str, answer: str) -> tuple[int, ...]:
    """Returns which parts of a memory came back in an answer: half of their own words, three at
    least; words that the question has brought along say nothing.
    """
    known, said = _words(question), _words(answer)
    found = []
    for place, part in enumerate(parts_of(text)):
        own = _words(part) - known
        back = len(own & said)
        if back >= _ENOUGH_WORDS and back >= _ENOUGH_SHARE * len(own):
            found.append(place)
    return tuple(found)


def repeats(questions: Sequence[str]) -> bool:
    """Tells whether the last question was asked before, in nearly the same words."""
    if len(questions) < 2:
        return False
    *earlier, last = (_words(question) for question in questions)
    return any(
        len(last & one) >= _SAME * len(last | one) for one in earlier if len(one) >= _ENOUGH_WORDS
    )


def _words(text: str) -> set[str]:
    """The words that can tell: long ones, and pairs of characters where no spaces are written."""
    found: set[str] = set()
    for word in split_words(fold(text)):
        if is_unspaced(word):
            found.update(word[at : at + 2] for at in range(len(word) - 1))
        elif len(word) >= _WORD_CHARS:
            found.add(word)
    return found
