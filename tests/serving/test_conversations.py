"""A conversation with a real model: what it was computed as is what its next prompt begins with."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass

import pytest

from memos_ray.core.activation import EngineFingerprint, KvPayload, SourceVersion
from memos_ray.core.generation import (
    ChatMessage,
    ChatRequest,
    FinishReason,
    GenerationPart,
    GenerationRequest,
    Sampling,
    TextPiece,
)
from memos_ray.serving.replica import ModelReplica
from memos_ray.serving.tokenizer import ModelTokenizer
from memos_ray.testing.engine_process import Asked, EngineProcess
from memos_ray.testing.recall import tiny_recall_path
from memos_ray.testing.recall.world import Split, draw_facts
from tests.serving.conftest import vllm

FACTS = draw_facts(random.Random(5), 8, Split.HELD_OUT)
GREEDY = Sampling(max_tokens=8, temperature=0.0)
MEMORIES = "Memories:\n" + "".join(f"- {fact.text}\n" for fact in FACTS)


@dataclass(frozen=True, slots=True)
class Remote:
    """An engine in another process as an `EnginePort`; a whole answer is one part."""

    process: EngineProcess
    healthy: bool = True

    @property
    def fingerprint(self) -> EngineFingerprint:
        return self.process.fingerprint

    @property
    def held(self) -> dict[str, int]:
        return {}

    @property
    def adapters(self) -> dict[str, bool]:
        return self.process.adapters

    async def generate(
        self, request: GenerationRequest, kv: Sequence[KvPayload] = ()
    ) -> AsyncIterator[GenerationPart]:
        (answer,) = self.process.ask([Asked(request, tuple(kv))])
        yield GenerationPart(answer.text, answer.tokens, answer.finish, answer.kv)

    async def export_kv(
        self,
        tokens: tuple[int, ...],
        *,
        salt: str,
        adapter: str = "",
        sources: tuple[SourceVersion, ...] = (),
        start: int = 0,
    ) -> KvPayload:
        return self.process.export_kv(
            tokens, salt=salt, adapter=adapter, sources=sources, start=start
        )

    async def forget(self) -> bool:
        return self.process.forget()

    def close(self) -> None:
        """The process is ended by whoever started it."""


@pytest.fixture(scope="module")
def replica() -> Iterator[ModelReplica]:
    with vllm(tiny_recall_path(), context_tokens=1024) as process:
        yield ModelReplica(Remote(process), ModelTokenizer(tiny_recall_path()), 1024)  # type: ignore[arg-type]


async def answered(
    replica: ModelReplica, request: ChatRequest, kv: Sequence[KvPayload] = ()
) -> GenerationPart:
    (part,) = [part async for part in replica.chat(request, kv)]
    assert part.kv is not None
    return part


def turn(
    messages: Sequence[ChatMessage],
    pieces: tuple[TextPiece, ...] = (),
    sampling: Sampling = GREEDY,
    shared: str = MEMORIES,
) -> ChatRequest:
    return ChatRequest("r1", tuple(messages), sampling, "acme", shared, pieces=pieces, keep=True)


def tokens_of(pieces: Sequence[TextPiece]) -> tuple[int, ...]:
    return tuple(token for piece in pieces for token in piece.tokens)


@pytest.mark.parametrize("shared", [MEMORIES, ""])
async def test_every_turn_goes_on_where_the_last_one_ended(
    replica: ModelReplica, shared: str
) -> None:
    messages = [ChatMessage("system", MEMORIES)]
    pieces, kept, right = tuple[TextPiece, ...](), list[KvPayload](), 0
    for fact in FACTS:
        messages.append(ChatMessage("user", fact.question))
        request = turn(messages, pieces, shared=shared)
        assert await replica.forget()
        part = await answered(replica, request, kept)
        # All that was said before is loaded, as far as whole blocks hold it.
        before = len(tokens_of(pieces)) // 32 * 32
        assert part.kv is not None and part.kv.refused is None
        assert part.kv.cached_tokens == part.kv.loaded_tokens == before
        assert await replica.forget()
        plain = await answered(replica, request)
        assert (part.text, part.said) == (plain.text, plain.said)
        # The answer is the last piece, and ends before the token that ended it.
        assert part.finish is FinishReason.STOP
        assert part.said[: len(pieces)] == pieces
        assert part.said[-1].tokens == part.tokens[:-1]
        assert part.said[-1].text.strip() == part.text.strip()
        right += part.text.strip() == fact.answer.lower()
        pieces = part.said
        start = kept[-1].manifest.tokens if kept else 0
        if len(tokens_of(pieces)) // 32 * 32 > start:
            kept.append(await replica.export_kv(tokens_of(pieces), salt="acme", start=start))
        messages.append(ChatMessage("assistant", part.text))
    assert len(kept) >= 3 and right >= 7


async def test_an_answer_that_was_cut_short_is_kept_as_far_as_it_is_said(
    replica: ModelReplica,
) -> None:
    messages = [ChatMessage("system", MEMORIES), ChatMessage("user", FACTS[0].question)]
    whole = await answered(replica, turn(messages))
    word = whole.text.strip()
    short = await answered(replica, turn(messages, sampling=Sampling(1, temperature=0.0)))
    assert short.finish is FinishReason.LENGTH
    assert (short.said[-1].text.strip(), short.said[-1].tokens) == (word, short.tokens)
    # Half a word is no token: nothing spells what is left of the answer.
    cut = Sampling(8, temperature=0.0, stop=(word[2:],))
    stopped = await answered(replica, turn(messages, sampling=cut))
    assert stopped.text.strip() == word[:2]
    assert stopped.said == whole.said[:-1]
