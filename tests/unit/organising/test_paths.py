"""Layers and paths: where a request goes."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from memos_ray.core.access.context import Action, CallContext, Principal
from memos_ray.core.access.documents import TenantDocuments
from memos_ray.core.access.model import (
    Effect,
    Grant,
    NamespaceKind,
    NamespaceSpec,
    PrincipalRecord,
    Rule,
    Tenant,
)
from memos_ray.core.access.policy import TenantPolicy
from memos_ray.core.organising.layers import Layer, Placed, layers
from memos_ray.core.organising.paths import MOST_STEPS, MemoryPathResolver
from memos_ray.core.organising.topic_reports import TopicMatch
from memos_ray.core.organising.topics import Concept, Topic
from memos_ray.core.reader.query import parse

NOW = datetime(2026, 6, 1, tzinfo=UTC)
PLACES = (
    NamespaceSpec("diary", NamespaceKind.USER_PRIVATE, "user:ann"),
    NamespaceSpec("secret", NamespaceKind.USER_PRIVATE, "user:bob"),
    NamespaceSpec("team", NamespaceKind.CONTEXTUAL_POOL, "user:bob", members=("user:ann",)),
    NamespaceSpec("board", NamespaceKind.CONTEXTUAL_POOL, "user:bob"),
    NamespaceSpec("handbook", NamespaceKind.EXPERT, "user:bob", members=("*",)),
    NamespaceSpec("law", NamespaceKind.INDUSTRY_SHARED, "user:bob", members=("user:ann",)),
    NamespaceSpec("user:ann/nurse", NamespaceKind.USER_PRIVATE, "user:ann"),
)


def policy(*grants: Grant, rules: tuple[Rule, ...] = ()) -> TenantPolicy:
    people = tuple(PrincipalRecord(name, ("nurse",)) for name in ("user:ann", "user:bob"))
    return TenantPolicy(
        TenantDocuments(
            Tenant("acme"), 1, principals=people, namespaces=PLACES, grants=grants, rules=rules
        )
    )


def context(role: str | None = None) -> CallContext:
    return CallContext(Principal("acme", "user:ann", ("nurse",)), role=role)


def by_layer(found: tuple[Placed, ...]) -> dict[Layer, list[str]]:
    return {
        layer: [one.namespace for one in found if one.layer is layer]
        for layer in Layer
        if any(one.layer is layer for one in found)
    }


def test_OPER_1_layers_go_from_the_role_to_what_is_open_to_all() -> None:
    found = layers(policy(), context("nurse"), NOW)
    assert by_layer(found) == {
        Layer.ROLE: ["user:ann/nurse"],
        Layer.PRIVATE: ["diary", "user:ann"],
        Layer.SHARED: ["team"],
        Layer.GLOBAL: ["handbook", "law"],
    }
    assert all(one.why for one in found)
    without = by_layer(layers(policy(), context(), NOW))
    assert Layer.ROLE not in without and "user:ann/nurse" in without[Layer.PRIVATE]


def test_OPER_1_what_somebody_lets_one_into_is_shared() -> None:
    grant = Grant("g", "user:ann", (Action.READ,), "user:bob", "user:bob")
    found = by_layer(layers(policy(grant), context(), NOW))
    assert found[Layer.SHARED] == ["team", "user:bob"]


_NAMES = (*(spec.name for spec in PLACES), "user:ann", "user:bob")
_rules = st.builds(
    Rule,
    st.uuids().map(str),
    st.sampled_from(Effect),
    st.just((Action.READ,)),
    st.lists(st.sampled_from((*_NAMES, "*", "user:*")), min_size=1, max_size=3).map(tuple),
    st.just(("user:ann",)),
)


@given(rules=st.lists(_rules, max_size=6), role=st.sampled_from((None, "nurse")))
def test_OPER_1_a_layer_holds_nothing_that_the_policy_does_not_show(
    rules: list[Rule], role: str | None
) -> None:
    judged = policy(rules=tuple(rules))
    found = layers(judged, context(role), NOW)
    names = [one.namespace for one in found]
    assert sorted(names) == list(judged.visible_namespaces(context(role), NOW))
    path = MemoryPathResolver().resolve(None, found, {})
    assert {step.namespace for step in path.steps} <= set(names)


def match(alike: float) -> TopicMatch:
    concept = Concept("c", 1, ("guitar",), 3, ("m",))
    return TopicMatch(Topic("t", ("music",), 3, ("m",), (concept,)), concept, alike)


PLACED = (
    Placed("user:ann", Layer.PRIVATE, "your home"),
    Placed("team", Layer.SHARED, "open to you"),
    Placed("law", Layer.GLOBAL, "open to everybody"),
)


def test_OPER_3_what_is_to_the_point_comes_first_and_the_nearer_of_equals() -> None:
    resolver = MemoryPathResolver()
    path = resolver.resolve(None, PLACED, {"team": (match(0.6),), "user:ann": (match(0.2),)})
    assert [step.namespace for step in path.steps] == ["team", "user:ann", "law"]
    assert path.steps[0].reasons == ("open to you", "its topic t is 0.60 alike")
    even = resolver.resolve(None, PLACED, {name: (match(0.5),) for name in ("law", "team")})
    assert [step.namespace for step in even.steps] == ["team", "law", "user:ann"]
    weak = resolver.resolve(None, PLACED, {"team": (match(0.6), match(0.5), match(0.1))})
    assert [one.alike for one in weak.steps[0].matches] == [0.6, 0.5]


def test_OPER_3_the_words_of_a_request_say_whose_memories_are_meant() -> None:
    call = parse("find my notes about guitars", NOW, UTC)
    path = MemoryPathResolver().resolve(call, PLACED, {})
    meant = {"mine": ["user:ann"], "shared": ["team", "law"]}
    reach = call.scope.reach.value
    assert [step.namespace for step in path.steps] == meant.get(reach, ["user:ann", "team", "law"])
    assert path.reasons[0] == f"scope: {reach}"
    assert len(path.steps) + len(path.left_out) == len(PLACED)


def test_OPER_3_of_many_namespaces_the_best_are_searched() -> None:
    many = [Placed(f"n{number:02d}", Layer.SHARED, "open to you") for number in range(30)]
    found = {one.namespace: (match(number / 30),) for number, one in enumerate(many)}
    path = MemoryPathResolver().resolve(None, many, found)
    assert [step.namespace for step in path.steps] == [f"n{29 - n}" for n in range(MOST_STEPS)]
    assert len(path.left_out) == 30 - MOST_STEPS and all(why for _, why in path.left_out)
