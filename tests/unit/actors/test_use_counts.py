"""Uses are counted, fade, and take no more than so much room."""

from __future__ import annotations

from memos_ray.actors.vault.use_counts import UseCounts
from memos_ray.core.access.context import CallContext, Principal
from memos_ray.core.generation import ChatMessage
from memos_ray.core.scheduling import AnsweredPrompt, conversation_of

HALF_LIFE_S = 100.0


def prompt(*ids: str, principal: str = "user:ann", conversation: str = "one") -> AnsweredPrompt:
    context = CallContext(Principal("acme", principal, (), "key:1"))
    hits = tuple((id, 7) for id in ids)
    return AnsweredPrompt(context, "home", "m", hits, "a", "b", conversation=conversation)


def test_uses_fade() -> None:
    counts = UseCounts(HALF_LIFE_S)
    counts.note(prompt("x", "y"), 0.0)
    counts.note(prompt("x"), 0.0)
    assert (counts.uses("x", 0.0), counts.uses("y", 0.0), counts.prompts(0.0)) == (2.0, 1.0, 2.0)
    assert (counts.uses("x", HALF_LIFE_S), counts.prompts(HALF_LIFE_S)) == (1.0, 1.0)
    assert counts.hottest(0.0, 1) == ["x"]
    assert counts.of("x").tokens == 7 and counts.uses("absent", 0.0) == 0.0


def test_conversations_and_callers_are_told_apart() -> None:
    counts = UseCounts(HALF_LIFE_S)
    for principal, conversation in (("a", "1"), ("a", "1"), ("a", "2"), ("b", "1"), ("b:1", "")):
        counts.note(prompt("x", principal=principal, conversation=conversation), 0.0)
    assert (len(counts.of("x").talks), counts.of("x").callers) == (4, 3)
    for number in range(200):
        counts.note(prompt("x", conversation=str(number)), 0.0)
    assert len(counts.of("x").talks) == 64


def test_of_many_memories_the_coldest_are_forgotten() -> None:
    counts = UseCounts(HALF_LIFE_S)
    counts.note(prompt("hot"), 0.0)
    counts.note(prompt("hot"), 0.0)
    for number in range(4096):
        counts.note(prompt(f"m{number}"), 0.0)
    assert len(counts.hottest(0.0, 10_000)) == 2048
    assert counts.hottest(0.0, 1) == ["hot"]


def test_what_was_counted_before_a_restart_is_a_beginning() -> None:
    counts = UseCounts(HALF_LIFE_S)
    counts.seed("x", 5.0, 7, 0.0)
    assert (counts.uses("x", 0.0), counts.prompts(0.0)) == (5.0, 5.0)
    counts.seed("x", 2.0, 9, 0.0)
    assert (counts.uses("x", 0.0), counts.of("x").tokens) == (5.0, 7)


def test_a_conversation_is_its_session_else_what_was_said_first() -> None:
    said = [ChatMessage("system", "Be brief."), ChatMessage("user", "Hm?")]
    more = [*said, ChatMessage("assistant", "Yes."), ChatMessage("user", "And?")]
    assert conversation_of(None, said) == conversation_of(None, more) != ""
    assert conversation_of("s", said) == conversation_of("s", []) != conversation_of("t", said)
    assert conversation_of(None, []) == ""
