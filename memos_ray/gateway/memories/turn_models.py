"""Messages that came before a question, as OpenAI's clients keep them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from memos_ray.core.reader.turns import Turn
from memos_ray.gateway.fields import Model, Name, printable

MOST_TURNS = 100
MOST_TURNS_BYTES = 256 << 10

_Words = Annotated[str, StringConstraints(max_length=MOST_TURNS_BYTES), AfterValidator(printable)]


class TextPart(Model):
    """A piece of a message; only text is understood."""

    type: Literal["text"]
    text: str


class EarlierTurn(Model):
    """A message before the question; `name` is who said it, where several people talk."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: _Words | Annotated[list[TextPart], Field(min_length=1)] | None = None
    name: Name | None = None

    @property
    def text(self) -> str:
        """What it says."""
        parts = self.content or ""
        return parts if isinstance(parts, str) else "\n".join(part.text for part in parts)


def _bounded(turns: list[EarlierTurn]) -> list[EarlierTurn]:
    if sum(len(turn.text.encode()) for turn in turns) > MOST_TURNS_BYTES:
        raise ValueError(f"the turns must have at most {MOST_TURNS_BYTES} bytes together")
    return turns


EarlierTurns = Annotated[list[EarlierTurn], Field(max_length=MOST_TURNS), AfterValidator(_bounded)]


def said(turns: list[EarlierTurn]) -> list[Turn]:
    """Returns what people and the model said; instructions and results of tools are neither."""
    return [
        Turn(turn.text, turn.role == "user", turn.name)
        for turn in turns
        if turn.role in {"user", "assistant"}
    ]
