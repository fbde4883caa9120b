"""How knowledge is worded: from a sentence to what it states, and from that to questions.

A template has `{subject}`, `{value}` and, where it is general, `{attribute}`; `{a_value}` is the
value behind an English article. `{subject}'s {attribute} is {value}.` reads
`Ann's car is red.` and asks `What is Ann's car?`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import orjson

from memos_ray.core.cube.metadata import SemanticType
from memos_ray.errors import ConfigurationError

_FIELD = re.compile(r"\{(subject|value|a_value|attribute)\}")
_LONGEST = {"subject": 60, "attribute": 40, "value": 200}
_END = re.compile(r"[\s.!。!]+$")


@dataclass(frozen=True, slots=True)
class Phrasing:
    """One kind of thing to know, as it is stated and asked for.

    Attributes:
        name: names the kind in its set.
        types: of memories that may be worded so; all of them when empty.
        statements: templates of sentences that state it; the first is the plainest.
        questions: templates of questions for the value.
        values: examples, for made-up statements that are not to be learnt.
    """

    name: str
    statements: tuple[str, ...]
    questions: tuple[str, ...]
    types: tuple[SemanticType, ...] = ()
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PhrasingSet:
    """All phrasings of a language.

    Attributes:
        language: ISO 639-1.
        subjects: examples of whom or what they may be about.
        completions: by type of memory, how to ask for the rest of a text that no phrasing reads;
            templates with `{beginning}`.
    """

    language: str
    phrasings: tuple[Phrasing, ...]
    subjects: tuple[str, ...]
    completions: Mapping[SemanticType, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Statement:
    """What a sentence states.

    Attributes:
        attribute: what of the subject the value is, where the phrasing is general.
    """

    phrasing: Phrasing
    subject: str
    value: str
    attribute: str = ""

    @property
    def about(self) -> tuple[str, str, str]:
        """What of whom it speaks of, the same for statements that differ only in their value."""
        return self.phrasing.name, self.attribute.casefold(), self.subject.casefold()

    def statements(self) -> tuple[str, ...]:
        """Returns every wording of it."""
        return tuple(_sentence(self._filled(each)) for each in self.phrasing.statements)

    def questions(self) -> tuple[str, ...]:
        """Returns every question for the value."""
        return tuple(_sentence(self._filled(each)) for each in self.phrasing.questions)

    def _filled(self, template: str) -> str:
        article = "an" if self.value[:1].lower() in "aeio" else "a"
        return template.format(
            subject=self.subject,
            value=self.value,
            a_value=f"{article} {self.value}",
            attribute=self.attribute,
        )


def recognise(text: str, kind: SemanticType, known: PhrasingSet) -> Statement | None:
    """Returns what a sentence states, by the template that leaves the least of it to its fields."""
    sentence = _END.sub("", text.strip())
    found = [
        Statement(phrasing, **read.groupdict())
        for phrasing in known.phrasings
        if not phrasing.types or kind in phrasing.types
        for template in phrasing.statements
        if (read := _pattern(template).fullmatch(sentence))
    ]
    return min(found, key=lambda one: len(one.subject + one.value + one.attribute), default=None)


def to_json(known: PhrasingSet) -> bytes:
    """Returns a file of phrasings."""
    values = {
        "language": known.language,
        "subjects": known.subjects,
        "completions": {kind.value: each for kind, each in known.completions.items()},
        "phrasings": [
            {
                "name": one.name,
                "types": [kind.value for kind in one.types],
                "statements": one.statements,
                "questions": one.questions,
                "values": one.values,
            }
            for one in known.phrasings
        ],
    }
    return orjson.dumps(values, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def from_json(data: bytes) -> PhrasingSet:
    """Reads a file of phrasings.

    Raises:
        ConfigurationError: it is none.
    """
    try:
        said = orjson.loads(data)
        return PhrasingSet(
            language=str(said["language"]),
            phrasings=tuple(map(_phrasing_of, said["phrasings"])),
            subjects=_texts(said["subjects"]),
            completions={
                SemanticType(kind): _texts(each) for kind, each in said["completions"].items()
            },
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"this is no file of phrasings: {error}") from None


def _phrasing_of(said: dict[str, Any]) -> Phrasing:
    found = Phrasing(
        name=str(said["name"]),
        types=tuple(map(SemanticType, said["types"])),
        statements=_texts(said["statements"]),
        questions=_texts(said["questions"]),
        values=_texts(said["values"]),
    )
    for template in found.statements:
        fields = _FIELD.findall(template)
        if "subject" not in fields or not {"value", "a_value"} & set(fields):
            raise ValueError("a statement needs {subject} and {value}")
    if not found.questions or not found.statements:
        raise ValueError("a phrasing needs statements and questions")
    return found


def _texts(said: list[Any]) -> tuple[str, ...]:
    if not all(isinstance(one, str) for one in said):
        raise TypeError("texts are expected")
    return tuple(said)


@cache
def _pattern(template: str) -> re.Pattern[str]:
    """Compiles a statement; what it captures are the fields of `Statement`."""
    parts, end = [], 0
    body = _END.sub("", template)
    for field in _FIELD.finditer(body):
        parts.append(re.escape(body[end : field.start()]))
        name = field[1]
        if name == "a_value":
            parts.append(r"(?:an?|the|some) ")
            name = "value"
        # No field reaches over a sentence's end.
        parts.append(rf"(?P<{name}>[^\s.!?。!?][^.!?。!?\n]{{0,{_LONGEST[name]}}}?)")
        end = field.end()
    parts.append(re.escape(body[end:]))
    return re.compile("".join(parts), re.IGNORECASE)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
