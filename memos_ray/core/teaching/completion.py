"""A text that no phrasing reads: it is asked for by its beginning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from memos_ray.core.cube.metadata import SemanticType
from memos_ray.core.teaching.phrasing import PhrasingSet

_BEGINNING_SHARE = 0.5
_BEGINNING_WORDS = 8
_CJK = "zh"


@dataclass(frozen=True, slots=True)
class Completion:
    """A text in two.

    Attributes:
        questions: how to ask for the rest.
        language: whose templates these are.
        joint: what stands between the two.
    """

    beginning: str
    rest: str
    questions: tuple[str, ...]
    language: PhrasingSet
    joint: str

    def with_rest(self, rest: str) -> str:
        """Returns the text with another end."""
        return f"{self.beginning}{self.joint}{rest}"


def split(text: str, kind: SemanticType, known: Sequence[PhrasingSet]) -> Completion | None:
    """Splits a text; nothing when it is too short, or there is no way to ask for the rest."""
    text = " ".join(text.split())
    chinese = any("\u4e00" <= letter <= "\u9fff" for letter in text)
    languages = [each for each in known if (each.language == _CJK) == chinese] or list(known)
    templates = languages[0].completions.get(kind, ()) if languages else ()
    units, joint = (list(text), "") if chinese else (text.split(), " ")
    if not templates or len(units) < 2:
        return None
    cut = min(max(1, round(_BEGINNING_SHARE * len(units))), _BEGINNING_WORDS)
    beginning, rest = joint.join(units[:cut]), joint.join(units[cut:])
    questions = tuple(each.format(beginning=beginning) for each in templates)
    return Completion(beginning, rest, questions, languages[0], joint)
