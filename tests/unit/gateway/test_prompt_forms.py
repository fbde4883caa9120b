"""SCHED-1: a prompt is for an adapter unless the base, with its caches, is cheaper by far."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from memos_ray.core.activation import KvLayout, KvManifest, SourceVersion
from memos_ray.core.cube.payload import Form
from memos_ray.core.generation import TextPiece
from memos_ray.core.scheduling import ConversationState, PromptStart, Taught
from memos_ray.core.scheduling.choosing import TokenCosts
from memos_ray.core.scheduling.forms import Reason
from memos_ray.gateway.chat.models import ChatQuery
from memos_ray.gateway.chat.prompting import Prompt
from memos_ray.gateway.memories.models import Memory

COSTS = TokenCosts(computed_s=1e-3, loaded_s=1e-5)
SAID = "What was said before. " * 40
FOUND = Memory.model_construct(  # type: ignore[call-arg]
    id="a",
    version=1,
    namespace="home",
    text="Ana keeps the garden.",
    speaker=None,
    event_time=None,
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
)


def start(*, learnt: str = "a", talk: bool = True) -> PromptStart:
    manifest = KvManifest("talk", 256, "m", "e", KvLayout.OPAQUE, ("r",), 1)
    kept = ConversationState(
        pieces=(TextPiece(f"user: {SAID}", (1,)),), kv=(manifest,) if talk else ()
    )
    return PromptStart(
        conversation=kept,
        references=("talk",) if talk else (),
        taught=Taught("id", "digest", (SourceVersion(learnt, 1),), (), "weights"),
        expected=("a", "other"),
    )


def prompt(
    begin: PromptStart, costs: TokenCosts | None, *, exactly: bool = False, **changes: object
) -> Prompt:
    messages = [
        {"role": "user", "content": SAID},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "Who keeps the garden?"},
    ]
    query = ChatQuery.model_validate(
        {"model": "m", "messages": messages, "session": "s", **changes}
    )
    return Prompt.make(query, [FOUND], begin, "home", template=True, exactly=exactly, costs=costs)


def test_SCHED_1_an_adapter_that_loses_the_conversations_cache_is_left_out() -> None:
    made = prompt(start(), COSTS)
    assert made.weights is None and made.references == ["talk"]
    why = made.explanation()
    assert why.adapter == Reason.DEARER
    (one,) = why.memories
    assert (one.form, one.reason, one.preloaded) == (Form.PLAINTEXT, Reason.CHEAPEST, True)
    assert one.refused[Form.PARAMETER] == Reason.DEARER


@pytest.mark.parametrize(
    ("begin", "costs", "exactly"),
    [
        (start(), None, False),
        (start(talk=False), COSTS, False),
        (start(), COSTS, True),
    ],
    ids=["costs are not known", "there is no cache to lose", "it is asked for by name"],
)
def test_SCHED_1_else_it_is_used(
    begin: PromptStart, costs: TokenCosts | None, exactly: bool
) -> None:
    made = prompt(begin, costs, exactly=exactly)
    assert made.weights == "weights"
    (one,) = made.explanation().memories
    assert one.form is Form.PARAMETER


def test_SCHED_1_one_that_knows_nothing_of_it_or_is_not_wanted_is_left_out() -> None:
    stranger = prompt(start(learnt="b"), COSTS)
    assert stranger.weights is None
    assert stranger.explanation().adapter == Reason.NOT_LEARNT
    unwanted = prompt(start(), COSTS, adapters=False)
    assert unwanted.weights is None
    assert unwanted.explanation().adapter == Reason.NOT_WANTED
