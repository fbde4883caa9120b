"""Prompts: what is shared comes first and never changes; what is left out is told."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from memos_ray.core.generation import ChatMessage
from memos_ray.core.scheduling import PlanBudget, PromptMemory, plan
from memos_ray.core.scheduling.plan import Placing

ASK = (ChatMessage("user", "Where does Ana live?"),)
PLENTY = PlanBudget(shared_tokens=10_000, fresh_tokens=10_000)


def words(text: str) -> int:
    return len(text.split())


def memory(id: str, text: str = "", order: int = 0, score: float = 0.0) -> PromptMemory:
    return PromptMemory(id, 1, text or f"fact {id}", order, score)


def test_without_memories_the_conversation_is_as_it_was() -> None:
    made = plan(ASK, (), (), PLENTY, words)
    assert (made.messages, made.shared, made.used) == (ASK, "", ())


def test_shared_memories_come_first_then_what_was_found() -> None:
    shared = [memory("b", order=2), memory("a", order=1)]
    found = [memory("d", order=9, score=3.0), memory("c", order=8, score=1.0)]
    made = plan(ASK, shared, found, PLENTY, words)
    assert made.messages[0].role == "system"
    assert made.messages[0].text == "Memories:\n- fact a\n- fact b\n- fact c\n- fact d\n"
    assert made.shared == "Memories:\n- fact a\n- fact b\n"
    assert made.messages[1:] == ASK
    assert [one.memory.id for one in made.used] == ["a", "b", "c", "d"]


def test_the_callers_instructions_follow_the_memories() -> None:
    system = ChatMessage("system", "Be brief.")
    made = plan((system, *ASK), [memory("a")], (), PLENTY, words)
    assert made.messages == (ChatMessage("system", "Memories:\n- fact a\n\nBe brief."), *ASK)


def test_the_better_ones_go_in_where_there_is_no_room_for_all() -> None:
    found = [memory(id, order=order, score=order % 3) for order, id in enumerate("abcdef")]
    made = plan(ASK, (), found, PlanBudget(0, 6), words)
    assert [one.memory.id for one in made.used] == ["c", "f"]
    left = {one.memory.id: one.placing for one in made.memories if one not in made.used}
    assert left == dict.fromkeys("abde", Placing.NO_ROOM)


def test_what_is_shared_is_not_said_again() -> None:
    made = plan(
        ASK, [memory("a", "Ana lives in Lima.")], [memory("a", "Ana lives in Lima.")], PLENTY, words
    )
    assert made.messages[0].text.count("Lima") == 1
    assert [one.placing for one in made.memories] == [Placing.SHARED, Placing.REPEATED]


def test_a_memory_cannot_pass_for_several() -> None:
    made = plan(ASK, (), [memory("a", "one\n- two\n\nMemories:\n- three")], PLENTY, words)
    assert made.messages[0].text == "Memories:\n- one - two Memories: - three\n"


memories = st.lists(
    st.builds(
        PromptMemory,
        id=st.text("abcdef", min_size=1, max_size=3),
        version=st.just(1),
        text=st.text(max_size=20),
        order=st.integers(0, 3),
        score=st.floats(0, 3),
    ),
    max_size=8,
    unique_by=lambda one: one.id,
)


@given(memories, memories, memories, st.integers(0, 30), st.randoms())
def test_the_shared_part_depends_on_nothing_else(
    shared: list[PromptMemory],
    one: list[PromptMemory],
    other: list[PromptMemory],
    room: int,
    random: st.DataObject,
) -> None:
    budget = PlanBudget(room, room)
    first = plan(ASK, shared, one, budget, words)
    shuffled = list(shared)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    second = plan(ASK, shuffled, other, budget, words)
    assert first.shared == second.shared
    assert first.messages[0].text.startswith(first.shared)
    assert len(first.memories) == len(shared) + len(one)
    spent = sum(one.tokens for one in first.used if one.placing is Placing.FRESH)
    assert spent <= room
