"""The policy against its model, and the laws that hold for every tenant, call and memory."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from memos_ray.core.access.context import Action, CallContext
from memos_ray.core.access.documents import TenantDocuments, decode, encode
from memos_ray.core.access.model import Effect, Grant, NamespaceMode, Rule
from memos_ray.core.access.policy import TenantPolicy
from memos_ray.core.cube.facets import FacetValue, to_micros
from memos_ray.core.cube.predicate import Nothing, evaluate
from memos_ray.testing import policies, policy_model

Memory = dict[str, FacetValue]
Question = tuple[Action, str]

SCOPES = {"readers": Action.READ, "writers": Action.UPDATE, "sharers": Action.SHARE}
QUESTIONS = tuple((action, name) for action in Action for name in policies.NAMESPACES)
few = settings(max_examples=25)
WRITES = (Action.CREATE, Action.UPDATE, Action.DELETE, Action.SHARE)


def allowed(
    documents: TenantDocuments, context: CallContext, memory: Memory, now: datetime
) -> set[Question]:
    """Asks everything about one memory: the actions that are allowed, in each namespace."""
    policy = TenantPolicy(documents)
    return {
        (action, namespace)
        for action, namespace in QUESTIONS
        if policy.decide(context, action, memory | {"namespace": namespace}, namespace, now).allowed
    }


world = given(policies.tenants(), policies.contexts(), policies.memories(), policies.moments)


@settings(max_examples=150)
@world
def test_decides_as_the_model_does_and_filters_as_it_decides(
    documents: TenantDocuments, context: CallContext, memory: Memory, now: datetime
) -> None:
    policy = TenantPolicy(documents)
    for action, namespace in QUESTIONS:
        facets = memory | {"namespace": namespace}
        decision = policy.decide(context, action, facets, namespace, now)
        expected = policy_model.allowed(documents, context, action, facets, namespace, now)
        assert decision.allowed == expected, (action, namespace, decision)
        assert evaluate(policy.permit(context, action, namespace, now), facets) == expected


@few
@world
def test_another_tenants_principal_can_do_nothing(
    documents: TenantDocuments, context: CallContext, memory: Memory, now: datetime
) -> None:
    stranger = replace(context, principal=replace(context.principal, tenant="globex"))
    policy = TenantPolicy(documents)
    assert allowed(documents, stranger, memory, now) == set()
    assert all(policy.permit(stranger, *question, now) == Nothing() for question in QUESTIONS)
    assert policy.visible_namespaces(stranger, now) == ()


@few
@world
def test_nothing_is_allowed_that_nothing_allows(
    documents: TenantDocuments, context: CallContext, memory: Memory, now: datetime
) -> None:
    denials = tuple(rule for rule in documents.rules if rule.effect is Effect.DENY)
    bare = replace(documents, rules=denials, roles=(), grants=(), namespaces=())
    unnamed = {name: value for name, value in memory.items() if name not in SCOPES}
    for _, namespace in allowed(bare, context, unnamed, now):
        assert namespace.split("/")[0] == context.principal.id


@few
@world
def test_a_scope_gives_one_action_to_those_it_names(
    documents: TenantDocuments, context: CallContext, memory: Memory, now: datetime
) -> None:
    unnamed = {name: value for name, value in memory.items() if name not in SCOPES}
    gained = allowed(documents, context, memory, now) - allowed(documents, context, unnamed, now)
    for action, _ in gained:
        names = memory[next(scope for scope, given in SCOPES.items() if given is action)]
        assert isinstance(names, tuple)
        assert {*names} & {*context.principal.subjects}


@few
@given(
    policies.tenants(),
    policies.contexts(),
    policies.memories(),
    policies.moments,
    policies.rules("added"),
)
def test_a_denial_only_takes_away_and_takes_all_that_it_names(
    documents: TenantDocuments, context: CallContext, memory: Memory, now: datetime, added: Rule
) -> None:
    before = allowed(documents, context, memory, now)
    denial = replace(added, effect=Effect.DENY)
    stricter = replace(documents, rules=(*documents.rules, denial))
    assert allowed(stricter, context, memory, now) <= before
    absolute = Rule("no", Effect.DENY, (Action.READ, Action.UPDATE), ("*",), ("*",))
    policy = TenantPolicy(replace(documents, rules=(*documents.rules, absolute)))
    for action, namespace in QUESTIONS:
        if action in absolute.actions:
            assert policy.permit(context, action, namespace, now) == Nothing()


@few
@given(
    policies.tenants(),
    policies.contexts(),
    policies.memories(),
    policies.moments,
    st.lists(policies.actions, min_size=1, unique=True).map(tuple),
)
def test_narrowing_a_key_never_widens(
    documents: TenantDocuments,
    context: CallContext,
    memory: Memory,
    now: datetime,
    scopes: tuple[Action, ...],
) -> None:
    before = allowed(documents, context, memory, now)
    keys = tuple(
        replace(key, scopes=tuple(a for a in key.scopes or tuple(Action) if a in scopes))
        for key in documents.keys
    )
    # Scopes with nothing in common would be written as none, which means all.
    if all(key.scopes for key in keys):
        narrowed = replace(documents, keys=keys)
        assert allowed(narrowed, context, memory, now) <= before
    unscoped = replace(context, principal=replace(context.principal, scopes=()))
    scoped = replace(context, principal=replace(context.principal, scopes=scopes))
    expected = {
        (action, namespace)
        for action, namespace in allowed(documents, unscoped, memory, now)
        if action in scopes
    }
    # Creating for others needs a second permission, which a narrow key may lack.
    surplus = expected - allowed(documents, scoped, memory, now)
    assert allowed(documents, scoped, memory, now) <= expected
    assert all(action is Action.CREATE for action, _ in surplus)


@few
@given(
    policies.tenants(),
    policies.contexts(),
    policies.memories(),
    policies.moments,
    policies.grants("added"),
)
def test_a_grant_only_adds_what_it_names_and_removing_it_takes_that_back(
    documents: TenantDocuments, context: CallContext, memory: Memory, now: datetime, added: Grant
) -> None:
    before = allowed(documents, context, memory, now)
    after = allowed(replace(documents, grants=(*documents.grants, added)), context, memory, now)
    assert before <= after
    for action, namespace in after - before:
        assert namespace == added.namespace
        assert action in added.actions or action is Action.CREATE
        assert added.subject in (*context.principal.subjects, "*")
    fewer = replace(documents, grants=documents.grants[1:])
    assert allowed(fewer, context, memory, now) <= before


@few
@world
def test_a_role_in_use_must_be_held(
    documents: TenantDocuments, context: CallContext, memory: Memory, now: datetime
) -> None:
    for role in ("surgeon", "nurse", "clerk"):
        held = next((r.roles for r in documents.principals if r.id == context.principal.id), ())
        if role not in held or role not in context.principal.roles:
            assert allowed(documents, replace(context, role=role), memory, now) == set()


@few
@world
def test_read_only_means_read_only(
    documents: TenantDocuments, context: CallContext, memory: Memory, now: datetime
) -> None:
    closed = tuple(replace(spec, mode=NamespaceMode.READ_ONLY) for spec in documents.namespaces)
    policy = TenantPolicy(replace(documents, namespaces=closed))
    for spec in closed:
        for action in WRITES:
            assert policy.permit(context, action, spec.name, now) == Nothing()
    fixed = memory | {"visibility": "read_only"}
    masters = {spec.name: spec.owner for spec in documents.namespaces if spec.name == "diary"}
    for action, namespace in allowed(documents, context, fixed, now):
        if action in (Action.UPDATE, Action.DELETE, Action.SHARE):
            master = masters.get(namespace, namespace.split("/")[0])
            assert context.principal.id in (memory["owner"], master)


@few
@world
def test_the_expired_can_be_deleted_and_nothing_else(
    documents: TenantDocuments, context: CallContext, memory: Memory, now: datetime
) -> None:
    expired = memory | {"expires_at": to_micros(now)}
    rest = {Action.DELETE, Action.CREATE, Action.ADMINISTER}
    assert {action for action, _ in allowed(documents, context, expired, now)} <= rest


@few
@world
def test_a_memory_of_another_namespace_is_refused(
    documents: TenantDocuments, context: CallContext, memory: Memory, now: datetime
) -> None:
    policy = TenantPolicy(documents)
    facets = memory | {"namespace": "elsewhere"}
    for action, namespace in QUESTIONS:
        assert not policy.decide(context, action, facets, namespace, now).allowed


@few
@given(policies.tenants(), policies.contexts(), policies.moments)
def test_visible_namespaces_are_those_where_something_shared_can_be_read(
    documents: TenantDocuments, context: CallContext, now: datetime
) -> None:
    policy = TenantPolicy(documents)
    for name in policy.visible_namespaces(context, now):
        assert policy.namespace(name).name == name
        assert policy.permit(context, Action.READ, name, now) != Nothing()


@few
@given(policies.tenants())
def test_documents_survive_the_wire(documents: TenantDocuments) -> None:
    assert decode(TenantDocuments, encode(documents)) == documents
