"""What prompts for an adapter begin with: shard and gateway come to the same text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memos_ray.core.activation import KvLayout, KvManifest, SourceVersion
from memos_ray.core.generation import ChatMessage
from memos_ray.core.scheduling import (
    ConversationState,
    PlanBudget,
    PromptMemory,
    PromptStart,
    Taught,
    in_order,
    plan,
    shared_text,
    unlearnt,
)

ASK = (ChatMessage("user", "Who?"),)
PLENTY = PlanBudget(1 << 40, 1 << 40)


def manifest(key: str, adapter: str = "") -> KvManifest:
    return KvManifest(key, 64, "model", "engine", KvLayout.OPAQUE, ("r",), 1, adapter=adapter)


def start(*, kv: bool, taught: bool, adapted: bool) -> PromptStart:
    learnt = Taught(
        "id",
        "digest",
        (SourceVersion("a", 1),),
        (),
        "weights",
        manifest("own", "digest") if adapted else None,
        "own" if adapted else None,
    )
    return PromptStart(
        kv=manifest("base") if kv else None,
        conversation=ConversationState(kv=(manifest("talk"),)),
        references=("base", "talk") if kv else ("talk",),
        taught=learnt if taught else None,
    )


memories = st.lists(
    st.builds(
        PromptMemory,
        id=st.text("abcdef", min_size=1, max_size=2),
        version=st.integers(1, 2),
        text=st.text("xy \n", max_size=4),
        order=st.integers(0, 3),
    ),
    max_size=8,
    unique_by=lambda one: one.id,
)


@given(memories, memories, st.sets(st.tuples(st.text("abcdef", max_size=2), st.integers(1, 2))))
def test_the_text_of_the_cache_is_that_of_the_prompt(
    block: list[PromptMemory], found: list[PromptMemory], learnt: set[tuple[str, int]]
) -> None:
    shared = in_order(block)
    made = plan(ASK, shared, found, PLENTY, len, learnt=learnt)
    assert made.shared == shared_text(unlearnt(shared, learnt))
    assert made.messages[0].text.startswith(made.shared)


@pytest.mark.parametrize("kv", [False, True])
@pytest.mark.parametrize("taught", [False, True])
@pytest.mark.parametrize("adapted", [False, True])
def test_references_travel_beside(kv: bool, taught: bool, adapted: bool) -> None:
    before = start(kv=kv, taught=taught, adapted=adapted)
    bare, references = before.apart()
    assert bare.references == () and not (bare.taught and bare.taught.weights)
    assert bare.together(references) == before


@pytest.mark.parametrize("adapted", [False, True])
def test_a_prompt_is_offered_the_caches_that_are_its_own(adapted: bool) -> None:
    base, references = start(kv=True, taught=False, adapted=adapted).caches
    assert [one.key for one in base] == list(references) == ["base", "talk"]
    own, references = start(kv=True, taught=True, adapted=adapted).caches
    assert [one.key for one in own] == list(references) == (["own"] if adapted else [])
