"""Hypothesis strategies for tenants, their policies, calls and memories.

The worlds are small on purpose: few names, so that rules, grants and memories meet.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

from hypothesis import strategies as st

from memos_ray.core.access.context import Action, CallContext, Principal
from memos_ray.core.access.documents import TenantDocuments
from memos_ray.core.access.model import (
    ApiKey,
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
    TimeWindow,
)
from memos_ray.core.cube.facets import FacetValue, to_micros
from memos_ray.core.cube.metadata import SemanticType, Visibility
from memos_ray.core.cube.payload import Form

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
"""A Wednesday."""

PRINCIPALS = ("user:ann", "user:bob", "agent:ada", "service:sync")
ROLES = ("nurse", "clerk")
SUBJECTS = (*PRINCIPALS, "role:nurse", "role:clerk", "*")
HOMES = ("user:ann", "user:bob", "agent:ada", "user:ann/work")
SHARED_NAMESPACES = ("ward", "ward-2", "library")
NAMESPACES = (*HOMES, *SHARED_NAMESPACES, "diary", "nowhere")
PATTERNS = (*NAMESPACES, "*", "ward*", "w*d", "user:*", "user:*/work", "*ary")
MOMENTS = tuple(NOON + timedelta(hours=hours) for hours in (-30, -1, 0, 1, 30))
PURPOSES = ("care", "billing")
APPLICATIONS = ("app", "batch")
TAGS = ("red", "blue")
SENSITIVITY = ("pii", "health")

actions = st.sampled_from(tuple(Action))
moments = st.sampled_from(MOMENTS)
namespaces = st.sampled_from(NAMESPACES)

_ACTIONS = (
    tuple(Action),
    tuple(Action)[:-1],
    (Action.READ,),
    (Action.READ, Action.CREATE),
    (Action.UPDATE, Action.DELETE),
    (Action.SHARE,),
    (Action.ADMINISTER,),
)
_WINDOWS = (
    TimeWindow(time(8), time(14)),
    TimeWindow(time(13), time(12), (2, 3)),
    TimeWindow(time(0), time(0), (3,), "Asia/Tokyo"),
    TimeWindow(time(22), time(8), (3, 7), "America/New_York"),
)
_CIRCUMSTANCES = (
    Circumstances(purposes=("care",)),
    Circumstances(purposes=PURPOSES, applications=("app",)),
    Circumstances(roles=("nurse",)),
    Circumstances(applications=("batch",)),
    Circumstances(not_before=NOON),
    Circumstances(not_after=NOON),
    Circumstances(not_before=MOMENTS[1], not_after=MOMENTS[3]),
    *(Circumstances(windows=(window,)) for window in _WINDOWS),
    Circumstances(windows=_WINDOWS[:2], purposes=("billing",)),
)
_CONDITIONS = (
    MemoryCondition(),
    MemoryCondition(),
    MemoryCondition(),
    MemoryCondition(tags=("red",)),
    MemoryCondition(without_tags=TAGS),
    MemoryCondition(sensitivity=SENSITIVITY),
    MemoryCondition(without_sensitivity=("pii",)),
    MemoryCondition(owners=("user:ann", "agent:ada")),
    MemoryCondition(semantic_types=(SemanticType.FACT, SemanticType.EVENT)),
    MemoryCondition(forms=(Form.PLAINTEXT,), tags=TAGS),
)
_few_actions = st.sampled_from(_ACTIONS)
_calls = st.sampled_from((*(Circumstances() for _ in _CIRCUMSTANCES), *_CIRCUMSTANCES))
_exceptions = st.sampled_from((*(None for _ in _CIRCUMSTANCES), *_CIRCUMSTANCES))
_conditions = st.sampled_from(_CONDITIONS)
_roles = st.sampled_from(((), ("nurse",), ("clerk",), ROLES))


def _some(values: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...]]:
    pairs = ((one, other) for one in values for other in values if one < other)
    return st.sampled_from(((), *((value,) for value in values), *pairs))


_subjects = _some(SUBJECTS)
_people = _some(SUBJECTS[:-1])


@st.composite
def rules(draw: st.DrawFn, name: str = "rule", of_role: bool = False) -> Rule:
    """Draws a rule; one of a role has no subjects of its own."""
    effect = draw(st.sampled_from((Effect.ALLOW, Effect.ALLOW, Effect.DENY)))
    return Rule(
        name,
        effect,
        draw(_few_actions),
        draw(st.sampled_from(PATTERNS).map(lambda pattern: (pattern, "ward"))),
        () if of_role else draw(_subjects.filter(bool)),
        draw(_conditions),
        draw(_calls),
        draw(_exceptions),
        draw(st.sampled_from(tuple(Reach))) if effect is Effect.ALLOW else Reach.SHARED,
    )


@st.composite
def grants(draw: st.DrawFn, name: str = "grant") -> Grant:
    """Draws a grant."""
    return Grant(
        name,
        draw(st.sampled_from(SUBJECTS)),
        draw(_few_actions),
        draw(namespaces),
        "user:ann",
        draw(st.sampled_from(tuple(Reach))),
        draw(_conditions),
        draw(st.sampled_from((None, None, *MOMENTS))),
    )


def _keys(number: int) -> st.SearchStrategy[ApiKey]:
    whole = ApiKey(f"k{number}", PRINCIPALS[number], "0" * 64, NOON, "user:ann")
    return st.sampled_from(
        (
            whole,
            replace(whole, scopes=(Action.READ,)),
            replace(whole, scopes=(Action.READ, Action.UPDATE), application="app"),
            replace(whole, application="batch", not_before=MOMENTS[1]),
            replace(whole, expires_at=MOMENTS[3]),
            replace(whole, revoked=True),
        )
    )


def _specs(name: str, kind: NamespaceKind) -> st.SearchStrategy[NamespaceSpec]:
    private = kind is NamespaceKind.USER_PRIVATE
    owners = {"diary": "user:bob", "user:ann/work": "user:ann"}
    return st.builds(
        NamespaceSpec,
        st.just(name),
        st.just(kind),
        st.just(owners[name]) if private else st.sampled_from(PRINCIPALS),
        st.sampled_from((NamespaceMode.WRITABLE, NamespaceMode.WRITABLE, NamespaceMode.READ_ONLY)),
        members=st.just(()) if private else _subjects,
    )


@st.composite
def _namespace_sets(draw: st.DrawFn) -> tuple[NamespaceSpec, ...]:
    kinds = tuple(NamespaceKind)[1:]
    shared = (draw(_specs(name, kinds[n])) for n, name in enumerate(SHARED_NAMESPACES))
    private = (
        draw(_specs(name, NamespaceKind.USER_PRIVATE)) for name in ("diary", "user:ann/work")
    )
    return tuple(spec for spec in (*shared, *private) if draw(st.integers(0, 4)))


@st.composite
def tenants(draw: st.DrawFn, name: str = "acme") -> TenantDocuments:
    """Draws all documents of a tenant."""
    roles = (
        Role(role, tuple(draw(st.lists(rules("in", of_role=True), max_size=1)))) for role in ROLES
    )
    records = (
        PrincipalRecord(principal, draw(_roles), draw(st.integers(0, 9)) == 9)
        for principal in PRINCIPALS
    )
    return TenantDocuments(
        Tenant(name, draw(st.integers(0, 19)) == 19),
        draw(st.integers(1, 9)),
        tuple(records),
        tuple(roles),
        tuple(draw(rules(f"rule{n}")) for n in range(draw(st.integers(0, 3)))),
        tuple(draw(grants(f"grant{n}")) for n in range(draw(st.integers(0, 4)))),
        tuple(draw(_keys(number)) for number in range(len(PRINCIPALS))),
        draw(_namespace_sets()),
    )


@st.composite
def contexts(draw: st.DrawFn, tenant: str = "acme") -> CallContext:
    """Draws a call; its principal may claim roles and credentials that nobody gave it."""
    number = draw(st.integers(0, len(PRINCIPALS) - 1))
    me = PRINCIPALS[number]
    caller = Principal(
        tenant,
        draw(st.sampled_from((me, me, me, me, "user:eve"))),
        draw(_roles),
        draw(st.sampled_from(("", "", f"key:k{number}", f"key:k{number}", "key:k9", "pin:1"))),
        draw(st.sampled_from(((), (), (), *_ACTIONS))),
    )
    return CallContext(
        caller,
        draw(st.sampled_from((None, *PURPOSES))),
        draw(st.sampled_from((None, None, None, *ROLES))),
        draw(st.sampled_from((None, *APPLICATIONS))),
    )


@st.composite
def memories(draw: st.DrawFn) -> dict[str, FacetValue]:
    """Draws the facets of a memory, without its namespace."""
    expires = draw(st.sampled_from((None, None, None, *MOMENTS)))
    facets: dict[str, FacetValue] = {
        "tags": draw(_some(TAGS)),
        "sensitivity": draw(_some(SENSITIVITY)),
        "readers": draw(_people),
        "writers": draw(_people),
        "sharers": draw(_people),
        "owner": draw(st.sampled_from(PRINCIPALS)),
        "visibility": draw(st.sampled_from(tuple(Visibility))).value,
        "semantic_type": draw(st.sampled_from(tuple(SemanticType)[:4])).value,
        "form": draw(st.sampled_from(tuple(Form))).value,
    }
    if expires is not None:
        facets["expires_at"] = to_micros(expires)
    return {name: value for name, value in facets.items() if value != ()}
