"""The decision table of `core.access.policy`, cell by cell, and the cases behind its sentences."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from memos_ray.core.access.context import Action, CallContext, Principal
from memos_ray.core.access.documents import TenantDocuments
from memos_ray.core.access.model import (
    Circumstances,
    Effect,
    Grant,
    MemoryCondition,
    NamespaceKind,
    NamespaceMode,
    NamespaceSpec,
    PrincipalRecord,
    Reach,
    Role,
    Rule,
    Tenant,
)
from memos_ray.core.access.policy import TenantPolicy
from memos_ray.core.cube.facets import FacetValue, facets_of
from memos_ray.core.cube.metadata import ExpiresAt, Visibility
from memos_ray.core.cube.predicate import Everything, Nothing
from memos_ray.errors import NotFoundError, PermissionDeniedError
from memos_ray.testing.cubes import make_cube

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
READ, CREATE, UPDATE, DELETE, SHARE, ADMINISTER = Action

ME, OTHER = "user:me", "user:other"
PEOPLE = (ME, OTHER, "user:third", "agent:helper", "agent:rival")
OWN, SHARED, PRIVATE, READ_ONLY = "own", "shared", "private", "read_only"
KINDS = (OWN, SHARED, PRIVATE, READ_ONLY)


def documents(**parts: object) -> TenantDocuments:
    """Makes a tenant with a few principals, of whom `me` holds the role `staff`."""
    records = tuple(
        PrincipalRecord(name, ("staff", "boss") if name == ME else ()) for name in PEOPLE
    )
    pool = NamespaceSpec("pool", NamespaceKind.CONTEXTUAL_POOL, "user:third")
    base = TenantDocuments(Tenant("acme"), 1, records, namespaces=(pool,))
    return replace(base, **parts)  # type: ignore[arg-type]


def call(
    name: str = ME, *, roles: tuple[str, ...] = ("staff", "boss"), **parts: str
) -> CallContext:
    """Makes a call of a principal that the cluster vouches for."""
    return CallContext(Principal("acme", name, roles), **parts)  # type: ignore[arg-type]


def memory(kind: str, namespace: str = "pool", **parts: object) -> dict[str, FacetValue]:
    """Makes a memory: of the caller, or of somebody else with the visibility that is named."""
    owner = ME if kind == OWN else OTHER
    visibility = Visibility.PRIVATE if kind == OWN else Visibility(kind)
    given = {"owner": owner, "visibility": visibility, **parts}
    return facets_of(make_cube(namespace=namespace, **given))  # type: ignore[arg-type]


def reached(
    held: TenantDocuments,
    action: Action,
    namespace: str = "pool",
    context: CallContext | None = None,
) -> set[str]:
    """Names the kinds of memory that an action is allowed on."""
    policy = TenantPolicy(held)
    return {
        kind
        for kind in KINDS
        if policy.decide(
            context or call(),
            action,
            memory(kind, namespace),
            namespace,
            NOW,
        ).allowed
    }


def grant(*actions: Action, namespace: str = "pool", **parts: object) -> Grant:
    """Makes a grant to `me`."""
    given = {"subject": ME, "granted_by": "user:third", **parts}
    return Grant("g", actions=actions, namespace=namespace, **given)  # type: ignore[arg-type]


def rule(*actions: Action, effect: Effect = Effect.ALLOW, **parts: object) -> Rule:
    """Makes a rule for `me` in the pool."""
    given = {"namespaces": ("pool",), "subjects": (ME,), **parts}
    return Rule("r", effect, actions, **given)  # type: ignore[arg-type]


ALL = {OWN, SHARED, PRIVATE, READ_ONLY}
NONE: set[str] = set()
TABLE = [
    # through        READ                       UPDATE, SHARE            DELETE      CREATE  ADMIN
    ("home", ALL, ALL, ALL, ALL, True),
    ("member", {OWN, SHARED, READ_ONLY}, {OWN}, {OWN}, {OWN}, False),
    ("owner", {OWN, SHARED, READ_ONLY}, {OWN}, {OWN}, ALL, True),
    ("grant", {OWN, SHARED, READ_ONLY}, {OWN, SHARED}, {OWN, SHARED}, {OWN}, True),
    ("rule", {OWN, SHARED, READ_ONLY}, {OWN, SHARED}, {OWN, SHARED}, {OWN}, True),
    ("far grant", ALL, {OWN, SHARED, PRIVATE}, {OWN, SHARED, PRIVATE}, {OWN}, True),
    ("far rule", ALL, {OWN, SHARED, PRIVATE}, {OWN, SHARED, PRIVATE}, {OWN}, True),
    ("nothing", NONE, NONE, NONE, NONE, False),
]


def through(way: str, action: Action) -> tuple[TenantDocuments, str]:
    """Makes a tenant in which the caller comes to a namespace in one way, for one action."""
    pool = documents().namespaces[0]
    match way:
        case "home":
            return documents(), ME
        case "member":
            return documents(namespaces=(replace(pool, members=(ME,)),)), "pool"
        case "owner":
            return documents(namespaces=(replace(pool, owner=ME),)), "pool"
        case "grant" | "far grant":
            reach = Reach.PRIVATE if way == "far grant" else Reach.SHARED
            return documents(grants=(grant(action, reach=reach),)), "pool"
        case "rule" | "far rule":
            reach = Reach.PRIVATE if way == "far rule" else Reach.SHARED
            return documents(rules=(rule(action, reach=reach),)), "pool"
        case _:
            return documents(), "pool"


@pytest.mark.parametrize(
    ("way", "read", "change", "delete", "create", "administer"), TABLE, ids=[r[0] for r in TABLE]
)
def test_every_cell(
    way: str,
    read: set[str],
    change: set[str],
    delete: set[str],
    create: set[str],
    administer: bool,
) -> None:
    expected = {
        READ: read,
        UPDATE: change,
        SHARE: change,
        DELETE: delete,
        CREATE: create,
        ADMINISTER: ALL if administer else NONE,
    }
    for action, kinds in expected.items():
        held, namespace = through(way, action)
        assert reached(held, action, namespace) == kinds, action


@pytest.mark.parametrize(
    ("scope", "action"), [("readers", READ), ("writers", UPDATE), ("sharers", SHARE)]
)
def test_a_name_in_a_scope_gives_one_action_without_admission(scope: str, action: Action) -> None:
    policy = TenantPolicy(documents())
    for subject in (ME, "role:staff"):
        facets = memory(PRIVATE, OTHER, **{scope: (subject,)})
        given = {each for each in Action if policy.decide(call(), each, facets, OTHER, NOW).allowed}
        assert given == {action}


@pytest.mark.parametrize("action", [UPDATE, SHARE])
def test_named_writers_and_sharers_do_not_change_a_read_only_memory(action: Action) -> None:
    facets = memory(READ_ONLY, "pool", writers=(ME,), sharers=(ME,))
    held = documents(grants=(grant(action, reach=Reach.PRIVATE),))
    assert not TenantPolicy(held).decide(call(), action, facets, "pool", NOW).allowed


def test_a_memory_shared_out_of_a_home_is_read_by_that_agent_and_no_other() -> None:
    policy = TenantPolicy(documents())
    facets = memory(OWN, ME, readers=("agent:helper",))
    shared, kept = dict(facets), memory(OWN, ME)
    for agent, expected in (("agent:helper", True), ("agent:rival", False)):
        context = call(agent, roles=())
        assert policy.decide(context, READ, shared, ME, NOW).allowed is expected
        assert not policy.decide(context, READ, kept, ME, NOW).allowed
    with pytest.raises(NotFoundError):
        policy.require(call("agent:rival", roles=()), READ, shared, ME, NOW)


def test_an_agent_acts_for_a_user_while_granted() -> None:
    given = Grant("g", "agent:helper", (READ, CREATE), ME, ME, Reach.PRIVATE)
    helper = call("agent:helper", roles=())
    assert reached(documents(grants=(given,)), READ, ME, helper) == ALL
    assert reached(documents(), READ, ME, helper) == NONE
    # What it wrote itself goes with the grant: ownership without admission is no access.
    noted = dict(facets_of(make_cube(namespace=ME, owner="agent:helper")))
    for held, expected in ((documents(grants=(given,)), True), (documents(), False)):
        assert TenantPolicy(held).decide(helper, READ, noted, ME, NOW).allowed is expected
        assert TenantPolicy(held).decide(call(), UPDATE, noted, ME, NOW).allowed


def test_wildcards_reach_homes_only_when_they_say_so() -> None:
    other = call(OTHER, roles=())
    for pattern, expected in (("*", NONE), ("*me", NONE), ("user:*", ALL), ("user:me", ALL)):
        held = documents(
            rules=(rule(READ, namespaces=(pattern,), subjects=(OTHER,), reach=Reach.PRIVATE),)
        )
        assert reached(held, READ, ME, other) == expected, pattern


def test_a_private_namespace_is_its_owners_alone() -> None:
    diary = NamespaceSpec("diary", NamespaceKind.USER_PRIVATE, ME)
    everything = rule(READ, namespaces=("*",), subjects=("*",), reach=Reach.PRIVATE)
    held = documents(namespaces=(diary,), rules=(everything,))
    assert reached(held, UPDATE, "diary") == ALL
    assert reached(held, READ, "diary", call(OTHER, roles=())) == NONE


def test_administering_a_tenant_is_not_reading_it() -> None:
    held = documents(rules=(rule(ADMINISTER, namespaces=("*",)),))
    policy = TenantPolicy(held)
    assert policy.may_administer(call(), "", NOW)
    assert policy.may_administer(call(), "pool", NOW)
    assert policy.may_administer(call(), OTHER, NOW)
    assert not policy.may_administer(call(), "@cluster", NOW)
    for namespace in ("pool", OTHER):
        assert reached(held, READ, namespace) == NONE
    assert policy.visible_namespaces(call(), NOW) == (ME,)


def test_a_denial_wins_over_ownership_and_can_be_conditional() -> None:
    denial = rule(
        READ, effect=Effect.DENY, namespaces=("*",), memories=MemoryCondition(sensitivity=("pii",))
    )
    policy = TenantPolicy(documents(rules=(denial,)))
    plain, sensitive = memory(OWN, ME), memory(OWN, ME, sensitivity=("pii",))
    assert policy.decide(call(), READ, plain, ME, NOW).reason == "home"
    decision = policy.decide(call(), READ, sensitive, ME, NOW)
    assert (decision.allowed, decision.reason) == (False, "deny:r")


def test_unless_exempts_calls() -> None:
    denial = rule(
        READ,
        effect=Effect.DENY,
        namespaces=("*",),
        unless=Circumstances(purposes=("care",), applications=("app",)),
    )
    policy = TenantPolicy(documents(rules=(denial,)))
    assert policy.permit(call(), READ, ME, NOW) == Nothing()
    assert policy.permit(call(purpose="care"), READ, ME, NOW) == Nothing()
    assert policy.permit(call(purpose="care", application="app"), READ, ME, NOW) != Nothing()


def test_the_role_in_use_is_the_only_one_that_counts() -> None:
    staff = Role("staff", (rule(READ, subjects=()),))
    boss = Role("boss", (rule(UPDATE, subjects=()), rule(READ, effect=Effect.DENY, subjects=())))
    held = documents(roles=(staff, boss))
    assert reached(held, READ) == NONE
    assert reached(held, UPDATE) == {OWN, SHARED}
    assert reached(held, READ, context=call(role="staff")) == {OWN, SHARED, READ_ONLY}
    assert reached(held, UPDATE, context=call(role="staff")) == NONE
    assert reached(held, READ, context=call(role="auditor")) == NONE
    # Claiming a role that is not on record gives nothing either.
    assert reached(held, READ, context=call(OTHER, roles=("staff",), role="staff")) == NONE
    named = memory(PRIVATE, "pool", readers=("role:boss",))
    policy = TenantPolicy(documents())
    assert policy.decide(call(role="boss"), READ, named, "pool", NOW).allowed
    assert not policy.decide(call(role="staff"), READ, named, "pool", NOW).allowed


def test_a_read_only_namespace_takes_no_writes_but_its_mode_can_be_changed() -> None:
    pool = replace(documents().namespaces[0], owner=ME, mode=NamespaceMode.READ_ONLY)
    home = NamespaceSpec(ME, NamespaceKind.USER_PRIVATE, ME, NamespaceMode.READ_ONLY)
    policy = TenantPolicy(documents(namespaces=(pool, home)))
    for name in ("pool", ME):
        for action in (CREATE, UPDATE, DELETE, SHARE):
            assert policy.permit(call(), action, name, NOW) == Nothing()
        assert policy.permit(call(), READ, name, NOW) != Nothing()
        assert policy.may_administer(call(), name, NOW)


def test_expired_memories_are_deleted_but_not_read() -> None:
    policy = TenantPolicy(documents())
    for left, expected in ((timedelta(0), False), (timedelta(microseconds=1), True)):
        facets = memory(OWN, ME, lifespan=ExpiresAt(NOW + left))
        for action in (READ, UPDATE, SHARE):
            assert policy.decide(call(), action, facets, ME, NOW).allowed is expected
        assert policy.decide(call(), DELETE, facets, ME, NOW).allowed


def test_grants_end() -> None:
    held = documents(grants=(grant(READ, expires_at=NOW + timedelta(seconds=1)),))
    policy = TenantPolicy(held)
    assert "pool" in policy.visible_namespaces(call(), NOW)
    assert "pool" not in policy.visible_namespaces(call(), NOW + timedelta(seconds=1))


def test_who_creates_owns_unless_an_administrator_imports() -> None:
    foreign = memory(PRIVATE)
    held = documents(grants=(grant(CREATE),))
    assert not TenantPolicy(held).decide(call(), CREATE, foreign, "pool", NOW).allowed
    held = documents(grants=(grant(CREATE, ADMINISTER),))
    assert TenantPolicy(held).decide(call(), CREATE, foreign, "pool", NOW).allowed


def test_nothing_is_created_where_there_is_no_namespace() -> None:
    everywhere = rule(*Action, namespaces=("*", "user:*"), reach=Reach.PRIVATE)
    policy = TenantPolicy(documents(rules=(everywhere,)))
    for name in ("nowhere", "user:me/work", "", "@cluster"):
        assert policy.permit(call(), CREATE, name, NOW) == Nothing()
    assert policy.permit(call(), ADMINISTER, "nowhere", NOW) == Everything()


@pytest.mark.parametrize(
    "stranger",
    [
        Principal("globex", ME),
        Principal("acme", "user:nobody"),
        Principal("acme", ME, credential="key:unknown"),
        Principal("acme", ME, credential="jwt:unknown"),
        Principal("acme", ME, credential="secret"),
    ],
)
def test_who_has_no_standing_has_no_home(stranger: Principal) -> None:
    policy = TenantPolicy(documents())
    for action in Action:
        assert policy.permit(CallContext(stranger), action, ME, NOW) == Nothing()


def test_the_disabled_have_no_standing() -> None:
    for held in (
        documents(principals=(PrincipalRecord(ME, disabled=True),)),
        documents(tenant=Tenant("acme", disabled=True)),
    ):
        assert TenantPolicy(held).permit(call(), READ, ME, NOW) == Nothing()


def test_refusals_do_not_tell_what_exists() -> None:
    policy = TenantPolicy(documents())
    hidden = memory(PRIVATE)
    told = []
    for facets in (hidden, None):
        for action in (READ, UPDATE, DELETE, SHARE, ADMINISTER):
            with pytest.raises(NotFoundError) as caught:
                policy.require(call(), action, facets, "pool", NOW)
            told.append((str(caught.value), caught.value.details))
    assert len({str(each) for each in told}) == 1
    for action in (CREATE, DELETE, ADMINISTER):
        answers = set()
        for name in ("pool", "nowhere"):
            with pytest.raises(NotFoundError) as refused:
                policy.require_namespace(call(), action, name, NOW)
            answers.add(str(refused.value).replace(name, "…"))
        assert len(answers) == 1
    # A search by name is not refused in either: it finds what names the caller, here nothing.
    assert policy.require_namespace(call(), READ, "pool", NOW) == policy.require_namespace(
        call(), READ, "nowhere", NOW
    )


def test_who_may_read_is_told_that_the_rest_is_forbidden() -> None:
    held = documents(grants=(grant(READ),))
    policy = TenantPolicy(held)
    with pytest.raises(PermissionDeniedError):
        policy.require(call(), DELETE, memory(SHARED), "pool", NOW)
    with pytest.raises(PermissionDeniedError):
        policy.require(call(), CREATE, memory(OWN), "pool", NOW)
    with pytest.raises(PermissionDeniedError):
        policy.require_namespace(call(), CREATE, "pool", NOW)
    assert policy.require(call(), READ, memory(SHARED), "pool", NOW).reason == "grant:g"


def test_namespaces_answer_for_homes_that_nobody_made() -> None:
    policy = TenantPolicy(documents())
    home = policy.namespace(ME)
    assert (home.kind, home.owner, home.default_visibility) == (
        NamespaceKind.USER_PRIVATE,
        ME,
        Visibility.PRIVATE,
    )
    for name in ("nowhere", "user:me/work"):
        with pytest.raises(NotFoundError):
            policy.namespace(name)


def test_visible_namespaces_follow_every_way_in() -> None:
    held = documents(
        grants=(grant(READ, namespace="user:other"), grant(CREATE, namespace="lab")),
        rules=(rule(READ, namespaces=("w*",)),),
        namespaces=tuple(
            NamespaceSpec(name, NamespaceKind.EXPERT, "user:third", members=members)
            for name, members in (("pool", ("role:staff",)), ("lab", ()), ("ward", ()))
        ),
    )
    policy = TenantPolicy(held)
    assert policy.visible_namespaces(call(), NOW) == ("pool", ME, OTHER, "ward")
    assert policy.visible_namespaces(call(role="boss"), NOW) == (ME, OTHER, "ward")
