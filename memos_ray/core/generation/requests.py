"""A request to a model replica, and the parts of its answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from memos_ray.core.activation import EngineFingerprint
from memos_ray.core.crossing import crossing


class FinishReason(StrEnum):
    """Why an answer ended."""

    STOP = "stop"
    LENGTH = "length"
    CANCELLED = "cancelled"
    CONTENT_FILTER = "content_filter"
    """Cut by an endpoint's own filter."""


@crossing
@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One turn of a conversation: its role, such as `system`, `user` or `assistant`, and text."""

    role: str
    text: str


@crossing
@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen; the defaults are those of the OpenAI API.

    Attributes:
        temperature: 0 takes the most probable token.
        top_k: only so many of the most probable tokens; 0 takes all.
        stop: texts that end the answer and are not part of it.
        seed: makes sampling repeatable.
        json_schema: a JSON Schema, as JSON, that the answer keeps to where the engine can see to
            that; none when empty.
    """

    max_tokens: int = 256
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    ignore_eos: bool = False
    json_schema: str = ""


@crossing
@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One prompt.

    Attributes:
        id: unique among the requests of a replica.
        tokens: the prompt.
        salt: the tenant's; caches of one salt are never used under another.
        adapter: content digest of the LoRA adapter; empty for the base model.
    """

    id: str
    tokens: tuple[int, ...]
    sampling: Sampling
    salt: str
    adapter: str = ""


@crossing
@dataclass(frozen=True, slots=True)
class KvUse:
    """What stood in for computing the prompt.

    Attributes:
        prompt_tokens: length of the prompt.
        cached_tokens: prompt tokens that were not computed, whatever the reason.
        loaded_tokens: those that came with the KV caches that were given.
        refused: why the first of them that was not loaded, or not as far as the prompt goes, was
            not; see `core.activation.Refusal`.
        at_holder: whether the replica held anything of the request's `places`, when it came;
            nothing when there are none.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    loaded_tokens: int = 0
    refused: str | None = None
    at_holder: bool | None = None


@crossing
@dataclass(frozen=True, slots=True)
class TextPiece:
    """A piece of a conversation as it stood in the prompt, or was answered, with its tokens.

    To tokenise what a model has said gives other tokens than it has chosen, now and then.
    """

    text: str
    tokens: tuple[int, ...]


@crossing
@dataclass(frozen=True, slots=True)
class GenerationPart:
    """What has been added to an answer.

    Attributes:
        finish: set in the last part.
        kv: set in the last part.
        said: in the last part, when the request asked to `keep`: the pieces of the prompt and, as
            the last one, the answer; without it where its tokens do not spell its text.
        answer_tokens: how many the whole answer has; set in the last part by models that do not say
            which they are.
    """

    text: str
    tokens: tuple[int, ...]
    finish: FinishReason | None = None
    kv: KvUse | None = None
    said: tuple[TextPiece, ...] = ()
    answer_tokens: int | None = None


@crossing
@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A conversation to go on with.

    Attributes:
        shared: what the first message begins with and other prompts do, too: a KV cache ends there.
        salt, adapter: see `GenerationRequest`.
        pieces: what the conversation was computed as so far, from its beginning; they give their
            tokens to the prompt as far as it has their texts.
        keep: whether the last part is to say what the conversation was computed as.
        affinity: what a replica may hold of this, the most specific last: names of KV caches
            (`KvManifest.name`) and of conversations (`core.activation.conversation_name`). It
            goes where they are, and is answered the same anywhere.
        template: whether the model's chat template is applied; else the prompt is the texts as they
            stand, see `joined`.
    """

    id: str
    messages: tuple[ChatMessage, ...]
    sampling: Sampling
    salt: str
    shared: str = ""
    adapter: str = ""
    pieces: tuple[TextPiece, ...] = ()
    keep: bool = False
    affinity: tuple[str, ...] = ()
    template: bool = True

    @property
    def places(self) -> tuple[str, ...]:
        """All that a replica may hold of this, the adapter included; see `affinity`."""
        return (self.adapter, *self.affinity) if self.adapter else self.affinity


def joined(messages: Sequence[ChatMessage]) -> str:
    """Returns the prompt of messages without a template: one text below the other."""
    return "\n".join(message.text for message in messages)


def estimated_tokens(text: str) -> int:
    """Estimates from above: no tokenizer in use takes more than a token for three bytes of text."""
    return len(text.encode()) // 3 + 1


@crossing
@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """What a replica says of itself."""

    pid: int
    fingerprint: EngineFingerprint
