"""Bodies of `/v1/completions`: a prompt as it stands, continued."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from memos_ray.gateway.chat.models import ChatQuery, Turn
from memos_ray.gateway.chat.openai_models import Absent, Answer, AskingBody, MemoryReport, Usage

_LONGEST_UNSAID = 16


def _one_text(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    if any(not isinstance(one, str) for one in value):
        raise ValueError("must be text; tokens are not understood here")
    if len(value) != 1:
        raise ValueError("must be one text; send several in requests of their own")
    return value[0]


class CompletionBody(AskingBody):
    """A request for a completion; see `AskingBody`."""

    prompt: Annotated[str, BeforeValidator(_one_text, str | list[str]), Field(min_length=1)]
    best_of: Literal[1] | None = None
    echo: Absent = None
    suffix: Absent = None

    def query(self) -> ChatQuery:
        """Returns what is asked, in this service's own words.

        Raises:
            InvalidInputError: a value is out of range.
        """
        prompt = Turn.model_construct(role="user", content=self.prompt)
        return self._query([prompt], self.max_tokens or _LONGEST_UNSAID)


class CompletionChoice(Answer):
    """The one choice, or what is added to it."""

    index: int = 0
    text: str
    logprobs: None = None
    finish_reason: str | None = None


class Completion(Answer):
    """A whole answer, or one event of a stream."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage | None = None
    memory: MemoryReport | None = None
