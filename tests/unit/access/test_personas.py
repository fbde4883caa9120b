"""Who may make personas, and that a stream is reached in its role and in no other (APP-4)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memos_ray.core.access.context import Action, CallContext, Principal
from memos_ray.core.access.documents import TenantDocuments, decode, encode
from memos_ray.core.access.model import (
    Effect,
    Grant,
    NamespaceKind,
    PrincipalRecord,
    Reach,
    Role,
    Rule,
    Tenant,
)
from memos_ray.core.access.persona_judge import PERSONAS_MAX, judge_persona
from memos_ray.core.access.personas import Persona, PutPersona, RetirePersona, Space
from memos_ray.core.access.policy import TenantPolicy
from memos_ray.core.access.validation import mentions_of
from memos_ray.core.cube.facets import Facets
from memos_ray.core.cube.predicate import Nothing
from memos_ray.errors import (
    ConflictError,
    IllegalStateError,
    InvalidInputError,
    MemosError,
    NotFoundError,
    PayloadTooLargeError,
    PermissionDeniedError,
)

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
ANN, BOSS = "user:ann", "user:boss"
DOCTOR = Persona(ANN, "doctor", "doctor", f"{ANN}/doctor", shared=(ANN,))
PARENT = Persona(ANN, "parent", "parent", f"{ANN}/parent", shared=(ANN,))


def policy(*personas: Persona, **parts: object) -> TenantPolicy:
    administer = Rule("administer", Effect.ALLOW, (Action.ADMINISTER,), ("*",))
    base = TenantDocuments(
        Tenant("acme"),
        1,
        (PrincipalRecord(ANN, ("doctor", "parent")), PrincipalRecord(BOSS, ("admin",))),
        roles=(Role("doctor"), Role("parent"), Role("admin", (administer,))),
        personas=personas,
    )
    return TenantPolicy(replace(base, **parts))  # type: ignore[arg-type]


def ann(role: str | None = None) -> CallContext:
    return CallContext(Principal("acme", ANN, ("doctor", "parent")), role=role)


BOSS_CALLS = CallContext(Principal("acme", BOSS, ("admin",)))


def put(at: TenantPolicy, persona: Persona, context: CallContext | None = None) -> TenantPolicy:
    return judge_persona(at, context or ann(), PutPersona(persona), NOW).policy


@pytest.mark.parametrize("action", tuple(Action))
def test_APP_4_a_stream_is_reached_in_its_role_and_in_no_other(action: Action) -> None:
    made = put(put(policy(), DOCTOR), PARENT)
    for inside in (DOCTOR.stream, f"{DOCTOR.stream}/cases"):
        for role in (None, "parent"):
            assert made.permit(ann(role), action, inside, NOW) == Nothing()
            assert not made.decide(ann(role), action, {"owner": ANN}, inside, NOW).allowed
    assert made.permit(ann("doctor"), action, DOCTOR.stream, NOW) != Nothing()
    assert made.permit(ann("parent"), action, ANN, NOW) != Nothing()


def test_APP_4_readers_named_on_a_memory_do_not_open_the_stream() -> None:
    made = policy(DOCTOR, PARENT)
    named: Facets = {"owner": ANN, "readers": (ANN, "role:parent")}
    assert not made.decide(ann("parent"), Action.READ, named, DOCTOR.stream, NOW).allowed


def test_APP_4_grants_and_rules_do_not_open_the_stream_to_another_role() -> None:
    grant = Grant("g", ANN, tuple(Action), DOCTOR.stream, BOSS, Reach.PRIVATE)
    rule = Rule("r", Effect.ALLOW, tuple(Action), ("user:*",), ("*",), reach=Reach.PRIVATE)
    made = policy(DOCTOR, PARENT, grants=(grant,), rules=(rule,))
    assert made.permit(ann("parent"), Action.READ, DOCTOR.stream, NOW) == Nothing()
    assert DOCTOR.stream not in made.visible_namespaces(ann("parent"), NOW)


def test_APP_4_a_call_looks_at_the_stream_and_at_what_is_shared_and_may_be_read() -> None:
    made = policy(replace(DOCTOR, shared=(ANN, "ward")))
    assert made.scope(ann("doctor"), NOW) == (DOCTOR.stream, ANN)
    assert made.scope(ann("parent"), NOW) == (ANN,)


def test_APP_4_the_role_must_be_held_or_given_by_an_administrator() -> None:
    pilot = Persona(ANN, "pilot", "pilot", f"{ANN}/pilot")
    with pytest.raises(PermissionDeniedError):
        put(policy(), pilot)
    made = put(policy(), pilot, BOSS_CALLS)
    (record,) = [one for one in made.documents.principals if one.id == ANN]
    assert record.roles == ("doctor", "parent", "pilot")
    assert mentions_of("pilot", made.documents) == [ANN, f"persona {ANN}/pilot"]
    # Making a role gives it no rules.
    assert Role("pilot") in made.documents.roles


def creating(
    at: TenantPolicy, *spaces: Space, context: CallContext | None = None, persona: Persona = DOCTOR
) -> TenantPolicy:
    return judge_persona(at, context or ann(), PutPersona(persona, spaces), NOW).policy


def test_APP_4_a_persona_is_made_with_its_further_namespaces_in_one_change() -> None:
    inside, beside = f"{DOCTOR.stream}/cases", f"{ANN}/notes"
    ruling = judge_persona(policy(), ann(), PutPersona(DOCTOR, (Space(inside), Space(beside))), NOW)
    made = ruling.policy
    assert {change.key for change in ruling.changes} == {DOCTOR.key, DOCTOR.stream, inside, beside}
    for name in (inside, beside):
        spec = made.namespace(name)
        assert (spec.owner, spec.kind) == (ANN, NamespaceKind.USER_PRIVATE)
    assert made.permit(ann("parent"), Action.READ, inside, NOW) == Nothing()
    assert made.permit(ann("parent"), Action.READ, beside, NOW) != Nothing()
    # Made again, what is there stays as it is.
    again = judge_persona(made, ann("doctor"), PutPersona(DOCTOR, (Space(beside),)), NOW)
    assert [change.key for change in again.changes] == [DOCTOR.key]


def test_APP_4_a_namespace_that_is_not_the_callers_to_make_makes_nothing() -> None:
    pool = Space("ward", ("*",))
    with pytest.raises(PermissionDeniedError):
        creating(policy(), Space(f"{ANN}/notes"), pool)
    with pytest.raises(PermissionDeniedError):
        creating(policy(), Space("user:bob/notes"))
    with pytest.raises(InvalidInputError):
        creating(policy(), Space(f"{ANN}/notes", ("user:bob",)))
    made = creating(policy(), pool, context=BOSS_CALLS)
    spec = made.namespace("ward")
    assert (spec.owner, spec.kind, spec.members) == (BOSS, NamespaceKind.CONTEXTUAL_POOL, ("*",))
    # Who is there is not changed by making a persona.
    other = creating(made, Space("ward", ("user:bob",)), context=BOSS_CALLS)
    assert other.namespace("ward").members == ("*",)


def test_APP_4_no_namespace_is_made_in_another_personas_stream() -> None:
    made = put(policy(), DOCTOR)
    inside = f"{DOCTOR.stream}/cases"
    sharing = replace(PARENT, shared=(ANN, inside))
    with pytest.raises((ConflictError, PermissionDeniedError)):
        creating(made, Space(inside), persona=sharing)


def test_APP_4_nobody_makes_personas_for_somebody_else() -> None:
    bob = CallContext(Principal("acme", "user:bob"))
    at = policy(principals=(PrincipalRecord(ANN, ("doctor",)), PrincipalRecord("user:bob")))
    with pytest.raises(PermissionDeniedError):
        put(at, DOCTOR, bob)
    with pytest.raises(NotFoundError):
        put(policy(), Persona("user:nobody", "x", "doctor", "user:nobody/x"), BOSS_CALLS)


def test_APP_4_a_persona_is_changed_in_its_role_only() -> None:
    made = put(policy(), DOCTOR)
    for role in (None, "parent"):
        with pytest.raises(PermissionDeniedError):
            put(made, replace(DOCTOR, shared=()), ann(role))
        with pytest.raises(PermissionDeniedError):
            judge_persona(made, ann(role), RetirePersona(ANN, "doctor"), NOW)
    changed = put(made, replace(DOCTOR, preface="Be brief."), ann("doctor"))
    persona = changed.persona(ann("doctor"))
    assert persona is not None and persona.preface == "Be brief."
    for other in (replace(DOCTOR, stream=f"{ANN}/other"), replace(DOCTOR, role="parent")):
        with pytest.raises(IllegalStateError):
            put(made, other, ann("doctor"))


def test_APP_4_the_stream_of_a_retired_persona_stays_closed() -> None:
    made = put(policy(), DOCTOR)
    gone = judge_persona(made, ann("doctor"), RetirePersona(ANN, "doctor"), NOW).policy
    assert gone.persona(ann("doctor")) is None
    assert gone.scope(ann("doctor"), NOW) == (ANN,)
    assert gone.permit(ann("parent"), Action.READ, DOCTOR.stream, NOW) == Nothing()
    with pytest.raises(NotFoundError):
        judge_persona(gone, ann("doctor"), RetirePersona(ANN, "doctor"), NOW)
    again = put(gone, DOCTOR, ann("doctor"))
    assert again.scope(ann("doctor"), NOW) == (DOCTOR.stream, ANN)


@pytest.mark.parametrize(
    ("persona", "error"),
    [
        (replace(PARENT, role="doctor"), ConflictError),
        (replace(PARENT, stream=DOCTOR.stream), ConflictError),
        (replace(PARENT, stream=f"{DOCTOR.stream}/in"), ConflictError),
        (replace(PARENT, shared=(DOCTOR.stream,)), ConflictError),
        (replace(PARENT, stream="pool"), InvalidInputError),
        (replace(PARENT, stream=ANN), InvalidInputError),
        (replace(PARENT, stream="user:bob/x"), InvalidInputError),
        (replace(PARENT, half_life_s=0.0), InvalidInputError),
        (replace(PARENT, preface="x" * 9000), InvalidInputError),
        (replace(PARENT, name="a b"), InvalidInputError),
    ],
)
def test_APP_4_what_is_not_acceptable(persona: Persona, error: type[MemosError]) -> None:
    with pytest.raises(error):
        put(policy(DOCTOR), persona)


def test_APP_4_a_principal_has_not_too_many() -> None:
    many = [Persona(ANN, f"p{n}", f"p{n}", f"{ANN}/p{n}") for n in range(PERSONAS_MAX)]
    with pytest.raises(PayloadTooLargeError):
        put(policy(*many), PARENT)


def test_APP_4_policies_with_personas_are_stored_and_read_again() -> None:
    documents = put(policy(), replace(DOCTOR, tags=("work",), half_life_s=60.0)).documents
    assert decode(TenantDocuments, encode(documents)) == documents


roles = st.sampled_from((None, "doctor", "parent"))


@given(first=roles, streams=st.permutations(["doctor", "parent"]), action=st.sampled_from(Action))
def test_APP_4_no_role_reads_anothers_stream(
    first: str | None, streams: list[str], action: Action
) -> None:
    made = policy()
    for name in streams:
        made = put(made, DOCTOR if name == "doctor" else PARENT)
    for name in ("doctor", "parent"):
        open_here = made.permit(ann(first), action, f"{ANN}/{name}", NOW) != Nothing()
        assert open_here == (first == name)
