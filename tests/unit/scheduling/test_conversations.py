"""A conversation's prompts go on from one another, as far as nothing in them has changed."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from memos_ray.core.generation import ChatMessage
from memos_ray.core.scheduling import (
    ConversationState,
    PlanBudget,
    PromptMemory,
    PromptPlan,
    goes_on,
    placements,
    plan,
    still_placed,
)
from memos_ray.core.scheduling.plan import Placing

PLENTY = PlanBudget(shared_tokens=10_000, fresh_tokens=10_000)


def words(text: str) -> int:
    return len(text.split())


def memory(id: str) -> PromptMemory:
    return PromptMemory(id, 1, f"fact {id}", 0)


def talk(*said: str) -> list[ChatMessage]:
    """A conversation of questions and the answers to all but the last."""
    messages = []
    for place, text in enumerate(said):
        messages.append(ChatMessage("user", text))
        if place < len(said) - 1:
            messages.append(ChatMessage("assistant", f"answer to {text}"))
    return messages


def go_on(
    messages: list[ChatMessage],
    found: list[str],
    state: ConversationState | None = None,
    budget: PlanBudget = PLENTY,
    shared: tuple[str, ...] = (),
) -> tuple[PromptPlan, ConversationState]:
    """Plans a prompt, and returns what the next one goes on from."""
    state = state or ConversationState()
    made = plan(
        messages,
        [memory(id) for id in shared],
        [memory(id) for id in found],
        budget,
        words,
        kept=still_placed(state, messages),
    )
    placed = placements(messages, made.placed)
    texts = tuple(memory(one.cube_id) for each in placed for one in each.memories)
    return made, ConversationState(placed, texts)


def text_of(made: PromptPlan) -> str:
    return "".join(f"<{message.role}>{message.text}" for message in made.messages)


def test_later_memories_stand_before_their_turn_and_stay_there() -> None:
    first, state = go_on(talk("one"), ["a"])
    second, state = go_on(talk("one", "two"), ["a", "b"], state)
    third, _ = go_on(talk("one", "two", "three"), ["c"], state)
    assert text_of(second).startswith(text_of(first))
    assert text_of(third).startswith(text_of(second))
    assert third.messages[0].text == "Memories:\n- fact a\n"
    assert third.messages[3].text == "Memories:\n- fact b\n\ntwo"
    assert third.messages[5].text == "Memories:\n- fact c\n\nthree"
    placings = {one.memory.id: one.placing for one in third.used}
    assert placings == {"a": Placing.KEPT, "b": Placing.KEPT, "c": Placing.FRESH}


def test_without_a_kept_conversation_all_stand_in_the_first_message() -> None:
    made = plan(talk("one", "two"), (), [memory("a")], PLENTY, words)
    assert made.messages[0].text == "Memories:\n- fact a\n"
    assert made.messages[1:] == tuple(talk("one", "two"))


def test_what_no_longer_holds_leaves_its_place() -> None:
    _, state = go_on(talk("one"), ["a", "b"])
    changed = replace(state, texts=tuple(one for one in state.texts if one.id != "a"))
    made, _ = go_on(talk("one", "two"), [], changed)
    assert made.messages[0].text == "Memories:\n- fact b\n"


def test_a_conversation_that_was_edited_begins_anew_from_there() -> None:
    _, state = go_on(talk("one"), ["a"])
    _, state = go_on(talk("one", "two"), ["b"], state)
    edited, _ = go_on(talk("one", "other", "three"), [], state)
    assert [one.memory.id for one in edited.used] == ["a"]
    other, _ = go_on(talk("else", "two", "three"), [], state)
    assert other.used == ()


def test_a_turn_that_is_asked_again_is_planned_anew() -> None:
    _, state = go_on(talk("one"), ["a"])
    again, _ = go_on(talk("one"), ["b"], state)
    assert [one.memory.id for one in again.used] == ["b"]


def test_what_became_shared_is_not_said_twice() -> None:
    _, state = go_on(talk("one"), ["a", "b"])
    made, _ = go_on(talk("one", "two"), ["b"], state, shared=("a",))
    assert [one.memory.id for one in made.used] == ["a", "b"]
    assert text_of(made).count("fact a") == 1 == text_of(made).count("fact b")


def test_a_conversation_full_of_memories_chooses_them_anew() -> None:
    budget = PlanBudget(0, 3)
    state = ConversationState()
    said: list[str] = []
    sizes = []
    for number in range(12):
        said.append(f"turn {number}")
        made, state = go_on(talk(*said), [f"m{number}"], state, budget)
        assert made.used[-1].memory.id == f"m{number}"
        sizes.append(sum(one.tokens for one in made.used))
    assert max(sizes) <= 5 * budget.fresh_tokens
    assert min(sizes[1:]) == budget.fresh_tokens


def test_only_a_user_goes_on() -> None:
    assert goes_on(talk("one"))
    assert not goes_on([]) and not goes_on([*talk("one"), ChatMessage("assistant", "so")])


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=4), min_size=1, max_size=6))
def test_every_prompt_begins_with_the_one_before(found: list[list[str]]) -> None:
    state = ConversationState()
    before = ""
    for number in range(len(found)):
        messages = talk(*(f"turn {place}" for place in range(number + 1)))
        made, state = go_on(messages, found[number], state)
        assert text_of(made).startswith(before)
        before = text_of(made)
        ids = [one.memory.id for one in made.used]
        assert len(set(ids)) == len(ids)
