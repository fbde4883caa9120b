"""Bodies of the OpenAI-compatible routes; the fields of memory stand beside OpenAI's own.

What OpenAI's API has and this service has not is refused by name, unless it says nothing, such as
an empty list of tools.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from memos_ray.gateway.chat.models import (
    ChatQuery,
    Explanation,
    MemoryMode,
    Turn,
    UsedMemory,
)
from memos_ray.gateway.fields import Label, Model, Name, NamespaceName
from memos_ray.gateway.memories.turn_models import TextPart
from memos_ray.gateway.problems import error_of_validation


def _absent(value: Any) -> None:
    if value is not None and value is not False and value not in ([], {}):
        raise ValueError("is not supported here; leave it out")


Absent = Annotated[None, BeforeValidator(_absent)]
"""A field that may only say nothing."""


class StreamOptions(Model):
    """What a stream says beside the text."""

    include_usage: bool = False
    include_obfuscation: Absent = None


class AskingBody(Model):
    """What requests for an answer have in common.

    `memory`, `namespaces`, `session`, `memories`, `memory_tokens` and `explain` are this service's
    own (see `ChatQuery`); `user` is recorded as the speaker of what is remembered; all else is as
    in OpenAI's API.
    """

    model: Name
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    n: Literal[1] | None = None
    user: Label | None = None
    memory: MemoryMode = MemoryMode.READ
    namespaces: list[NamespaceName] | None = None
    adapters: bool = True
    session: Label | None = None
    memories: Annotated[int, Field(ge=1, le=200)] = 20
    memory_tokens: Annotated[int, Field(ge=1, le=1 << 20)] = 1024
    explain: bool = False
    logit_bias: Absent = None
    logprobs: Absent = None

    @property
    def with_usage(self) -> bool:
        """Whether a stream ends with the usage."""
        return self.stream_options is not None and self.stream_options.include_usage

    def _query(self, messages: list[Turn], max_tokens: int | None) -> ChatQuery:
        stop = [self.stop] if isinstance(self.stop, str) else self.stop
        values = {
            "model": self.model,
            "messages": messages,
            "memory": self.memory,
            "namespaces": self.namespaces,
            "adapters": self.adapters,
            "session": self.session,
            "speaker": self.user,
            "memories": self.memories,
            "memory_tokens": self.memory_tokens,
            "explain": self.explain,
            "max_tokens": max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "presence_penalty": self.presence_penalty,
            "frequency_penalty": self.frequency_penalty,
            "stop": stop,
            "seed": self.seed,
        }
        given = {name: value for name, value in values.items() if value is not None}
        try:
            return ChatQuery.model_validate(given)
        except ValidationError as error:
            raise error_of_validation(error) from None


class ChatTurn(Model):
    """One message, as OpenAI's clients send it; answers may be sent back as they came."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[TextPart], Field(min_length=1)] | None = None
    name: Label | None = None
    refusal: Absent = None
    annotations: Absent = None
    audio: Absent = None
    tool_calls: Absent = None
    function_call: Absent = None

    @model_validator(mode="after")
    def _says_something(self) -> ChatTurn:
        if self.content is None and self.role != "assistant":
            raise ValueError("only an assistant's message may be without content")
        return self

    def turn(self) -> Turn:
        """Returns the message in this service's own words."""
        parts = self.content or ""
        text = parts if isinstance(parts, str) else "\n".join(part.text for part in parts)
        role = "system" if self.role == "developer" else self.role
        return Turn.model_construct(role=role, content=text)


class TextFormat(Model):
    """How an answer is written."""

    type: Literal["text"]


class ChatCompletionBody(AskingBody):
    """A request for a chat completion; see `AskingBody`."""

    messages: Annotated[list[ChatTurn], Field(min_length=1, max_length=1000)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    response_format: TextFormat | None = None
    modalities: list[Literal["text"]] | None = None
    service_tier: Literal["auto", "default"] | None = None
    tool_choice: Literal["none"] | None = None
    function_call: Literal["none"] | None = None
    tools: Absent = None
    functions: Absent = None
    top_logprobs: Absent = None
    audio: Absent = None
    prediction: Absent = None
    reasoning_effort: Absent = None
    verbosity: Absent = None
    web_search_options: Absent = None
    store: Absent = None
    metadata: Absent = None

    def query(self) -> ChatQuery:
        """Returns what is asked, in this service's own words.

        Raises:
            InvalidInputError: a value is out of range.
        """
        turns = [message.turn() for message in self.messages]
        return self._query(turns, self.max_completion_tokens or self.max_tokens)


class Answer(BaseModel):
    """What is sent is made here and is not validated again."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TokenDetails(Answer):
    """Of the prompt's tokens."""

    cached_tokens: int


class Usage(Answer):
    """Tokens of a request."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: TokenDetails


class MemoryReport(Answer):
    """What memory had to do with an answer: which were used, in which form, what was stored.

    `response` is the id by which the log and feedback know the answer. The explanation is there
    where it was asked for.
    """

    used: list[UsedMemory]
    stored: list[str] = []
    store_error: str | None = None
    response: str | None = None
    explanation: Explanation | None = None


class AnswerMessage(Answer):
    """The answer."""

    role: Literal["assistant"] = "assistant"
    content: str


class Choice(Answer):
    """The one choice."""

    index: int = 0
    message: AnswerMessage
    finish_reason: str


class ChatCompletion(Answer):
    """A whole answer."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    memory: MemoryReport


class Delta(Answer):
    """What is added to an answer."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class ChunkChoice(Answer):
    """The one choice of a chunk."""

    index: int = 0
    delta: Delta
    finish_reason: str | None = None


class ChatChunk(Answer):
    """One event of a stream."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = None
    memory: MemoryReport | None = None


class ModelKind(StrEnum):
    """What a model is for."""

    CHAT = "chat"
    EMBEDDING = "embedding"


class ModelCard(Answer):
    """One model; `parent` is the model that an adapter is for."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "memos-ray"
    kind: ModelKind = ModelKind.CHAT
    parent: str | None = None


class ModelList(Answer):
    """The models that can be asked, with an adapter or without, and the one that embeds."""

    object: Literal["list"] = "list"
    data: list[ModelCard]
