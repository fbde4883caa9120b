"""Bodies of the OpenAI-compatible routes; the fields of memory stand beside OpenAI's own."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from memos_ray.gateway.chat_models import ChatQuery, MemoryMode, Turn, UsedMemory
from memos_ray.gateway.models import Label, Model, Name, NamespaceName
from memos_ray.gateway.problems import error_of_validation


class TextPart(Model):
    """A piece of a message; only text is understood."""

    type: Literal["text"]
    text: str


class ChatTurn(Model):
    """One message, as OpenAI's clients send it."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    name: Label | None = None


class StreamOptions(Model):
    """What a stream says beside the text."""

    include_usage: bool = False


class ChatCompletionBody(Model):
    """A request for a chat completion.

    `memory`, `namespaces`, `session`, `memories` and `memory_tokens` are this service's own (see
    `ChatQuery`); `user` is recorded as the speaker of what is remembered; all else is as in
    OpenAI's API.
    """

    model: Name
    messages: Annotated[list[ChatTurn], Field(min_length=1, max_length=1000)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
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
    session: Label | None = None
    memories: Annotated[int, Field(ge=1, le=200)] = 20
    memory_tokens: Annotated[int, Field(ge=1, le=1 << 20)] = 1024

    def query(self) -> ChatQuery:
        """Returns what is asked, in this service's own words.

        Raises:
            InvalidInputError: a value is out of range.
        """
        stop = [self.stop] if isinstance(self.stop, str) else self.stop
        values = {
            "model": self.model,
            "messages": [_turn(turn) for turn in self.messages],
            "memory": self.memory,
            "namespaces": self.namespaces,
            "session": self.session,
            "speaker": self.user,
            "memories": self.memories,
            "memory_tokens": self.memory_tokens,
            "max_tokens": self.max_completion_tokens or self.max_tokens,
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


def _turn(turn: ChatTurn) -> Turn:
    content = turn.content
    text = content if isinstance(content, str) else "\n".join(part.text for part in content)
    role = "system" if turn.role == "developer" else turn.role
    return Turn.model_construct(role=role, content=text)


class _Answer(BaseModel):
    """What is sent is made here and is not validated again."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TokenDetails(_Answer):
    """Of the prompt's tokens."""

    cached_tokens: int


class Usage(_Answer):
    """Tokens of a request."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: TokenDetails


class MemoryReport(_Answer):
    """What memory had to do with an answer: which were used, in which form, what was stored."""

    used: list[UsedMemory]
    stored: list[str] = []
    store_error: str | None = None


class AnswerMessage(_Answer):
    """The answer."""

    role: Literal["assistant"] = "assistant"
    content: str


class Choice(_Answer):
    """The one choice."""

    index: int = 0
    message: AnswerMessage
    finish_reason: str


class ChatCompletion(_Answer):
    """A whole answer."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    memory: MemoryReport


class Delta(_Answer):
    """What is added to an answer."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class ChunkChoice(_Answer):
    """The one choice of a chunk."""

    index: int = 0
    delta: Delta
    finish_reason: str | None = None


class ChatChunk(_Answer):
    """One event of a stream."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = None
    memory: MemoryReport | None = None


class ModelCard(_Answer):
    """One model."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "memos-ray"


class ModelList(_Answer):
    """The models that can be asked."""

    object: Literal["list"] = "list"
    data: list[ModelCard]
