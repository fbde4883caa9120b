"""What a running conversation's prompts have had, so that the next one can begin the same way.

A KV cache of a conversation is of use only while its prompts go on from one another. So memories
stay where they were put: those of the first turn in the first message, later ones before the turn
that they were found for. What has changed or may not be read any more leaves its place; from there
on the prompt is another one, and is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from memos_ray.core.access.context import CallContext
from memos_ray.core.activation import KvManifest, SourceVersion
from memos_ray.core.crossing import crossing
from memos_ray.core.generation import ChatMessage, TextPiece
from memos_ray.core.scheduling.plan import PlacedMemories, PromptMemory

_USER = "user"


@crossing
@dataclass(frozen=True, slots=True)
class Placed:
    """Which memories were put before a turn.

    Attributes:
        turn: number of the user's message, from 0.
        digest: of what the user said then.
    """

    turn: int
    digest: str
    memories: tuple[SourceVersion, ...]


@crossing
@dataclass(frozen=True, slots=True)
class ConversationState:
    """What is known of a conversation.

    Attributes:
        placed: memories by turn, those that still hold.
        texts: these memories, as prompts have them.
        pieces: what the last prompt and its answer were computed as.
        kv: the caches of that, each behind the one before; their references travel beside.
    """

    placed: tuple[Placed, ...] = ()
    texts: tuple[PromptMemory, ...] = ()
    pieces: tuple[TextPiece, ...] = ()
    kv: tuple[KvManifest, ...] = ()


@crossing
@dataclass(frozen=True, slots=True)
class KeptConversation:
    """What a prompt of a conversation had, for the next one to go on from.

    Attributes:
        session: names it among the caller's own.
        placed: which memories stand before which turn.
        pieces: what prompt and answer were computed as; none when that is not known.
        sources: all memories in the prompt.
        shared: the cache of what all prompts begin with, if it was used.
    """

    session: str
    placed: tuple[Placed, ...] = ()
    pieces: tuple[TextPiece, ...] = ()
    sources: tuple[SourceVersion, ...] = ()
    shared: KvManifest | None = None


@crossing
@dataclass(frozen=True, slots=True)
class GivenMemory:
    """A memory that a model was given for an answer, and in which form."""

    cube_id: str
    version: int
    namespace: str
    form: str
    tokens: int


@crossing
@dataclass(frozen=True, slots=True)
class AnsweredPrompt:
    """What a prompt had that has been answered, for the shard of its namespace to learn from.

    Attributes:
        hits: memories that a search found for the question, with the tokens of each in a prompt.
        minted_id: for an activation memory, if there is to be one.
        lesson_id: for a lesson, if there is to be one.
        kept: the conversation, if it is to be kept.
        conversation: tells it from the caller's others; see `conversation_of`.
        response: id of the answer.
        given: all memories that the model was given for it, of whatever namespace.
        echoes: memories of the namespace of which parts came back in the answer, by their places.
        repeated: whether the caller has asked nearly the same before in this conversation.
    """

    context: CallContext
    namespace: str
    model: str
    hits: tuple[tuple[str, int], ...]
    minted_id: str
    lesson_id: str
    kept: KeptConversation | None = None
    conversation: str = ""
    response: str = ""
    given: tuple[GivenMemory, ...] = ()
    echoes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    repeated: bool = False


def turns_of(messages: Sequence[ChatMessage]) -> list[str]:
    """Returns the digest of each of the user's messages."""
    return [_digest(message.text) for message in messages if message.role == _USER]


def conversation_of(session: str | None, messages: Sequence[ChatMessage]) -> str:
    """Returns what tells a conversation from others: its session, else what the user said first."""
    return _digest(session) if session else next(iter(turns_of(messages)), "")


def goes_on(messages: Sequence[ChatMessage]) -> bool:
    """Tells whether the user has the last word, so that a conversation can be kept."""
    return bool(messages) and messages[-1].role == _USER


def still_placed(state: ConversationState, messages: Sequence[ChatMessage]) -> list[PlacedMemories]:
    """Returns the memories of earlier turns, as far as those turns are the same.

    The current turn, the last one, is planned anew.
    """
    texts = {memory.id: memory for memory in state.texts}
    earlier = turns_of(messages)[:-1]
    found = []
    for one in sorted(state.placed, key=lambda one: one.turn):
        if one.turn >= len(earlier) or earlier[one.turn] != one.digest:
            break
        there = [texts[source.cube_id] for source in one.memories if source.cube_id in texts]
        found.append(PlacedMemories(one.turn, tuple(there)))
    return found


def placements(
    messages: Sequence[ChatMessage], planned: Sequence[PlacedMemories]
) -> tuple[Placed, ...]:
    """Returns what the next prompt of the conversation needs to know of this one."""
    digests = turns_of(messages)
    return tuple(
        Placed(
            one.turn,
            digests[one.turn],
            tuple(SourceVersion(memory.id, memory.version) for memory in one.memories),
        )
        for one in planned
        if one.memories
    )


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()
