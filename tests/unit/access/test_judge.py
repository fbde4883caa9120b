"""Administration: who may ask what, what is refused, and what changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest

from memos_ray.core.access import keys
from memos_ray.core.access.administration import (
    AdminOperation,
    CreateTenant,
    ExpireKey,
    GiveGrant,
    IssueKey,
    PutIssuer,
    PutNamespace,
    PutPrincipal,
    PutRole,
    PutRule,
    RemoveIssuer,
    RemoveRole,
    RemoveRule,
    RevokeGrant,
    RevokeKey,
    RotateKey,
    SetTenant,
)
from memos_ray.core.access.context import Action, CallContext, Principal
from memos_ray.core.access.documents import TenantDocuments, assemble, encode, merge, place_of, put
from memos_ray.core.access.founding import Ruling, found, reopen
from memos_ray.core.access.judge import judge, judge_tenant
from memos_ray.core.access.model import (
    Algorithm,
    ApiKey,
    Circumstances,
    Effect,
    Grant,
    JwtIssuer,
    MemoryCondition,
    NamespaceKind,
    NamespaceMode,
    NamespaceSpec,
    PrincipalRecord,
    Reach,
    Role,
    Rule,
    TimeWindow,
    VerificationKey,
    default_spec,
)
from memos_ray.core.access.policy import TenantPolicy
from memos_ray.errors import (
    ClientError,
    ConflictError,
    IllegalStateError,
    InvalidInputError,
    NotFoundError,
    PayloadTooLargeError,
    PermissionDeniedError,
)

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
ENTROPY = bytes(range(42))
FIRST = keys.mint("acme", bytes(42))
FOUNDING = found("acme", FIRST.key_id, FIRST.digest, NOW, operators=True)
LEAD = Rule("lead", Effect.ALLOW, (Action.ADMINISTER,), ("team-*",))
DENY = Rule("no", Effect.DENY, (Action.READ,), ("*",), ("*",))
POOL = NamespaceSpec("pool", NamespaceKind.CONTEXTUAL_POOL, "user:ann", path="contextual_pool/pool")
JWK = '{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}'
ISSUER = JwtIssuer("idp", "https://idp", "memos", (VerificationKey("k", Algorithm.EDDSA, JWK),))
HELD = merge(
    FOUNDING.policy.documents,
    [
        put(each)
        for each in (
            PrincipalRecord("user:ann"),
            PrincipalRecord("user:lea", ("lead",)),
            PrincipalRecord("agent:ada"),
            Role("lead", (LEAD,)),
            Role("idle"),
            DENY,
            POOL,
            NamespaceSpec("diary", NamespaceKind.USER_PRIVATE, "user:ann", path="diary"),
            Grant("g", "agent:ada", (Action.READ,), "user:ann", "user:ann"),
            ApiKey("k", "user:ann", "0" * 64, NOW, "user:admin", (Action.READ,), "app"),
            ISSUER,
        )
    ],
)
POLICY = TenantPolicy(HELD)
ADMIN, ANN, LEA = "user:admin", "user:ann", "user:lea"


def caller(name: str) -> CallContext:
    roles = next((record.roles for record in HELD.principals if record.id == name), ())
    return CallContext(Principal("acme", name, roles))


def ask(operation: AdminOperation, name: str = ADMIN, policy: TenantPolicy = POLICY) -> Ruling:
    return judge(policy, caller(name), operation, NOW, ENTROPY)


TENANT_OPERATIONS: Sequence[AdminOperation] = (
    PutPrincipal(PrincipalRecord("user:bob", ("idle",))),
    PutRole(Role("new", (replace(LEAD, id="x"),))),
    RemoveRole("idle"),
    PutRule(replace(DENY, id="new")),
    RemoveRule("no"),
    IssueKey(ANN),
    RotateKey("k"),
    ExpireKey("k", NOW + timedelta(days=1)),
    RevokeKey("k"),
    PutIssuer(replace(ISSUER, id="second", audience="other")),
    RemoveIssuer("idp"),
    PutNamespace(replace(POOL, quota_bytes=7)),
    PutNamespace(replace(POOL, path="elsewhere")),
    PutNamespace(NamespaceSpec("diary", NamespaceKind.USER_PRIVATE, LEA, path="diary")),
    GiveGrant(LEA, (Action.ADMINISTER,), "pool"),
    GiveGrant(LEA, (Action.READ,), "pool", Reach.PRIVATE),
)


@pytest.mark.parametrize("operation", TENANT_OPERATIONS, ids=lambda each: type(each).__name__)
def test_the_tenants_policy_is_its_administrators(operation: AdminOperation) -> None:
    ruling = ask(operation)
    assert ruling.policy.version == POLICY.version + 1
    assert ruling.policy.documents == merge(HELD, ruling.changes)
    for name in (ANN, LEA, "agent:ada", "user:nobody"):
        with pytest.raises(PermissionDeniedError):
            ask(operation, name)


def test_a_call_that_is_narrowed_away_from_administering_cannot() -> None:
    narrow = Principal("acme", ADMIN, ("admin",), scopes=(Action.READ,))
    idle = CallContext(Principal("acme", ADMIN, ("admin",)), role="idle")
    other = CallContext(Principal("globex", ADMIN, ("admin",)))
    for context in (CallContext(narrow), idle, other):
        with pytest.raises(PermissionDeniedError):
            judge(POLICY, context, RevokeKey("k"), NOW, ENTROPY)


def test_owners_administer_their_namespaces() -> None:
    home = default_spec(ANN, NamespaceKind.USER_PRIVATE, ANN)
    work = default_spec("user:ann/work", NamespaceKind.USER_PRIVATE, ANN)
    for operation in (
        GiveGrant("agent:ada", (Action.READ, Action.CREATE), ANN, Reach.PRIVATE),
        GiveGrant("role:lead", (Action.READ,), "pool"),
        GiveGrant("*", (Action.READ,), "diary", Reach.PRIVATE),
        RevokeGrant("g"),
        PutNamespace(replace(home, mode=NamespaceMode.READ_ONLY)),
        PutNamespace(work),
        PutNamespace(replace(POOL, members=("*",))),
        PutNamespace(replace(POOL, owner=LEA)),
    ):
        assert ask(operation, ANN).policy.version == POLICY.version + 1
        with pytest.raises(ClientError):
            ask(operation, LEA)


def test_what_owners_may_not() -> None:
    for operation in (
        GiveGrant("agent:ada", (Action.ADMINISTER,), ANN),
        GiveGrant("agent:ada", (Action.READ,), "pool", Reach.PRIVATE),
        PutNamespace(default_spec("user:lea/work", NamespaceKind.USER_PRIVATE, LEA)),
        PutNamespace(default_spec("new", NamespaceKind.EXPERT, ANN)),
        PutNamespace(NamespaceSpec("diary", NamespaceKind.USER_PRIVATE, LEA)),
    ):
        with pytest.raises(PermissionDeniedError):
            ask(operation, ANN)


def test_delegated_administrators_stay_inside_their_pattern() -> None:
    made = ask(PutNamespace(default_spec("team-1", NamespaceKind.EXPERT, ANN)), LEA)
    assert made.policy.namespace("team-1").path == "expert/team-1"
    given = judge(made.policy, caller(LEA), GiveGrant(LEA, (Action.READ,), "team-1"), NOW, ENTROPY)
    granted = {grant.id: grant.granted_by for grant in given.policy.documents.grants}
    assert granted[given.id] == LEA
    for operation in (
        PutNamespace(default_spec("other", NamespaceKind.EXPERT, LEA)),
        PutNamespace(replace(POOL, members=(LEA,))),
        GiveGrant(LEA, (Action.READ,), "team-1", Reach.PRIVATE),
    ):
        with pytest.raises(PermissionDeniedError):
            judge(made.policy, caller(LEA), operation, NOW, ENTROPY)


def test_grants_of_others_are_not_there_for_who_may_not_take_them_back() -> None:
    answers = set()
    for key in ("g", "none"):
        with pytest.raises(NotFoundError) as caught:
            ask(RevokeGrant(key), LEA)
        answers.add(str(caught.value).replace(f"id={key}", ""))
    assert len(answers) == 1


def test_a_namespace_keeps_its_kind() -> None:
    private = NamespaceSpec("pool", NamespaceKind.USER_PRIVATE, ANN)
    for name in (ADMIN, ANN):
        with pytest.raises(IllegalStateError):
            ask(PutNamespace(private), name)


def test_a_namespace_keeps_its_path_when_none_is_given() -> None:
    changed = ask(PutNamespace(replace(POOL, path="", mode=NamespaceMode.READ_ONLY)), ANN)
    assert changed.policy.namespace("pool").path == POOL.path


def test_an_issued_key_works_within_its_limits() -> None:
    ruling = ask(IssueKey(ANN, (Action.READ,), "app", NOW, NOW + timedelta(days=1)))
    assert ruling.secret is not None
    assert ruling.secret not in repr(ruling)
    principal = ruling.policy.authenticate_key(keys.parse(ruling.secret), NOW)
    assert (principal.id, principal.scopes) == (ANN, (Action.READ,))
    assert ruling.policy.application(principal) == "app"
    held = next(key for key in ruling.policy.documents.keys if key.id == ruling.id)
    assert (held.created_by, held.created_at) == (ADMIN, NOW)
    assert keys.parse(ruling.secret).value.hex() != held.digest


def test_a_rotated_key_hands_its_limits_on_and_ends_after_the_overlap() -> None:
    ruling = ask(RotateKey("k", overlap_s=60))
    documents = {key.id: key for key in ruling.policy.documents.keys}
    old, new = documents["k"], documents[ruling.id]
    assert old.expires_at == NOW + timedelta(seconds=60)
    assert (new.principal, new.scopes, new.application) == (ANN, (Action.READ,), "app")
    assert new.expires_at is None
    soon = TenantPolicy(merge(HELD, ask(ExpireKey("k", NOW + timedelta(seconds=5))).changes))
    rotated = ask(RotateKey("k", overlap_s=60), policy=soon).policy.documents.keys
    assert {key.expires_at for key in rotated if key.principal == ANN} == {
        NOW + timedelta(seconds=5)
    }
    for overlap in (-1.0, 1e9):
        with pytest.raises(InvalidInputError):
            ask(RotateKey("k", overlap))


def test_a_keys_end_only_comes_nearer() -> None:
    soon = ask(ExpireKey("k", NOW + timedelta(days=1))).policy
    with pytest.raises(IllegalStateError):
        ask(ExpireKey("k", NOW + timedelta(days=2)), policy=soon)
    over = ask(ExpireKey("k", NOW)).policy
    revoked = ask(RevokeKey("k")).policy
    for policy in (over, revoked):
        for operation in (RotateKey("k"), ExpireKey("k", NOW)):
            with pytest.raises(IllegalStateError):
                ask(operation, policy=policy)
    assert ask(RevokeKey("k"), policy=revoked).policy.documents.keys == revoked.documents.keys


@pytest.mark.parametrize(
    "operation",
    [
        RemoveRole("none"),
        RemoveRule("none"),
        RemoveIssuer("none"),
        RevokeKey("none"),
        RotateKey("none"),
        RevokeGrant("none"),
        IssueKey("user:nobody"),
        PutPrincipal(PrincipalRecord("user:bob", ("none",))),
        PutIssuer(replace(ISSUER, assertable_roles=("none",))),
        GiveGrant(ANN, (Action.READ,), "nowhere"),
        GiveGrant(ANN, (Action.READ,), "user:ann/none"),
    ],
    ids=str,
)
def test_what_is_not_there_is_not_found(operation: AdminOperation) -> None:
    with pytest.raises(NotFoundError):
        ask(operation)


def test_a_role_in_use_is_not_removed() -> None:
    with pytest.raises(ConflictError) as caught:
        ask(RemoveRole("lead"))
    assert caught.value.details["mentions"] == [LEA]
    for change in (
        replace(DENY, id="r", subjects=("role:idle",)),
        Grant("r", "role:idle", (Action.READ,), "pool", ADMIN),
        replace(POOL, members=("role:idle",)),
    ):
        with pytest.raises(ConflictError):
            ask(RemoveRole("idle"), policy=TenantPolicy(merge(HELD, [put(change)])))


@pytest.mark.parametrize(
    "operation",
    [
        PutPrincipal(PrincipalRecord(ADMIN)),
        PutPrincipal(PrincipalRecord(ADMIN, ("admin",), disabled=True)),
        PutRole(Role("admin")),
        PutRule(replace(DENY, actions=(Action.ADMINISTER,))),
        PutRule(replace(DENY, actions=(Action.ADMINISTER,), memories=MemoryCondition(tags=("x",)))),
    ],
    ids=["roles", "disabled", "rules", "denied", "denied-sometimes"],
)
def test_nobody_locks_himself_out(operation: AdminOperation) -> None:
    with pytest.raises(ConflictError):
        ask(operation)


def test_giving_up_the_key_in_use_is_no_lock_out() -> None:
    context = CallContext(Principal("acme", ADMIN, ("admin",), f"key:{FIRST.key_id}"))
    assert judge(POLICY, context, RevokeKey(FIRST.key_id), NOW, ENTROPY).id == FIRST.key_id


RULE = Rule("r", Effect.ALLOW, (Action.READ,), ("*",), ("*",))
BAD: Sequence[AdminOperation] = [
    PutPrincipal(PrincipalRecord("ann")),
    PutPrincipal(PrincipalRecord("user:")),
    PutPrincipal(PrincipalRecord("robot:ann")),
    PutPrincipal(PrincipalRecord("user:a/b")),
    PutRole(Role("")),
    PutRole(Role("a b")),
    PutRole(Role("r", (replace(RULE, subjects=(ANN,)),))),
    PutRole(Role("r", (replace(RULE, subjects=()),) * 2)),
    PutRule(replace(RULE, id="a/b")),
    PutRule(replace(RULE, actions=())),
    PutRule(replace(RULE, namespaces=())),
    PutRule(replace(RULE, namespaces=("a b",))),
    PutRule(replace(RULE, namespaces=("@other",), effect=Effect.DENY, subjects=())),
    PutRule(replace(RULE, subjects=())),
    PutRule(replace(RULE, subjects=("ann",))),
    PutRule(replace(RULE, subjects=("role:",))),
    PutRule(replace(RULE, effect=Effect.DENY, reach=Reach.PRIVATE)),
    PutRule(replace(RULE, unless=Circumstances())),
    PutRule(replace(RULE, when=Circumstances(purposes=("",)))),
    PutRule(replace(RULE, when=Circumstances(purposes=("\0",)))),
    PutRule(replace(RULE, when=Circumstances(purposes=("\ud800",)))),
    PutRule(replace(RULE, when=Circumstances(not_before=datetime(2026, 1, 1)))),
    PutRule(replace(RULE, when=Circumstances(windows=(TimeWindow(time(1), time(2), (0,)),)))),
    PutRule(replace(RULE, when=Circumstances(windows=(TimeWindow(time(1), time(2), tz="X"),)))),
    PutRule(replace(RULE, when=Circumstances(windows=(TimeWindow(time(1, tzinfo=UTC), time(2)),)))),
    PutRule(replace(RULE, memories=MemoryCondition(owners=("ann",)))),
    PutRule(replace(RULE, memories=MemoryCondition(tags=("",)))),
    GiveGrant("ann", (Action.READ,), "pool"),
    GiveGrant(ANN, (), "pool"),
    GiveGrant(ANN, (Action.READ,), "pool", expires_at=NOW),
    IssueKey(ANN, application=""),
    IssueKey(ANN, expires_at=datetime(2026, 4, 1)),
    ExpireKey("k", datetime(2026, 4, 1)),
    PutNamespace(NamespaceSpec("", NamespaceKind.EXPERT, ANN)),
    PutNamespace(NamespaceSpec("@cluster", NamespaceKind.EXPERT, ANN)),
    PutNamespace(NamespaceSpec("a/../b", NamespaceKind.EXPERT, ANN)),
    PutNamespace(NamespaceSpec("a" * 256, NamespaceKind.EXPERT, ANN)),
    PutNamespace(NamespaceSpec("new", NamespaceKind.EXPERT, "ann")),
    PutNamespace(NamespaceSpec("new", NamespaceKind.EXPERT, ANN, members=("ann",))),
    PutNamespace(NamespaceSpec("new", NamespaceKind.EXPERT, ANN, quota_bytes=-1)),
    PutNamespace(NamespaceSpec("new", NamespaceKind.EXPERT, ANN, path="/etc")),
    PutNamespace(NamespaceSpec("new", NamespaceKind.EXPERT, ANN, path="a/../../b")),
    PutNamespace(NamespaceSpec("new", NamespaceKind.EXPERT, ANN, path=POOL.path)),
    PutNamespace(NamespaceSpec("new", NamespaceKind.USER_PRIVATE, ANN, members=(LEA,))),
    PutNamespace(NamespaceSpec("user:lea/new", NamespaceKind.EXPERT, LEA)),
    PutNamespace(NamespaceSpec("user:lea/new", NamespaceKind.USER_PRIVATE, ANN)),
    PutIssuer(replace(ISSUER, id="second")),
    PutIssuer(replace(ISSUER, id="a b", audience="x")),
    PutIssuer(replace(ISSUER, keys=())),
    PutIssuer(replace(ISSUER, keys=ISSUER.keys * 2)),
    PutIssuer(replace(ISSUER, issuer="")),
    PutIssuer(replace(ISSUER, audience="")),
    PutIssuer(replace(ISSUER, leeway_s=-1)),
    PutIssuer(replace(ISSUER, leeway_s=301)),
    PutIssuer(replace(ISSUER, subject_prefix="a/")),
    PutIssuer(replace(ISSUER, subject_claim="")),
    CreateTenant("globex"),
]


@pytest.mark.parametrize("operation", BAD, ids=lambda each: str(each)[:60])
def test_unacceptable_documents(operation: AdminOperation) -> None:
    with pytest.raises(InvalidInputError):
        ask(operation)


def test_documents_have_a_largest_size() -> None:
    wide = replace(RULE, when=Circumstances(purposes=tuple(f"{n:0200}" for n in range(400))))
    with pytest.raises(PayloadTooLargeError):
        ask(PutRule(wide))


def ask_operator(
    operation: CreateTenant | SetTenant,
    target: TenantDocuments | None = None,
    name: str = ADMIN,
) -> Ruling:
    return judge_tenant(POLICY, target, caller(name), operation, NOW, ENTROPY)


def test_operators_make_and_disable_tenants() -> None:
    made = ask_operator(CreateTenant("globex"))
    assert made.secret is not None
    admin = made.policy.authenticate_key(keys.parse(made.secret), NOW)
    assert made.policy.may_administer(CallContext(admin), "", NOW)
    assert not made.policy.may_administer(CallContext(admin), "@cluster", NOW)
    documents = made.policy.documents
    off = ask_operator(SetTenant("globex", True), documents)
    assert not off.policy.may_administer(CallContext(admin), "", NOW)
    on = ask_operator(SetTenant("globex", False), off.policy.documents)
    assert on.policy.may_administer(CallContext(admin), "", NOW)


def test_what_operators_are_refused() -> None:
    with pytest.raises(ConflictError):
        ask_operator(CreateTenant("acme"), HELD)
    with pytest.raises(ConflictError):
        ask_operator(SetTenant("acme", True), HELD)
    with pytest.raises(NotFoundError):
        ask_operator(SetTenant("globex", True))
    with pytest.raises(InvalidInputError):
        ask_operator(CreateTenant("Globex!"))
    for name in (ANN, LEA):
        with pytest.raises(PermissionDeniedError):
            ask_operator(CreateTenant("globex"), name=name)


def test_a_locked_tenant_is_reopened_with_another_key() -> None:
    lost = merge(
        HELD,
        [
            put(PrincipalRecord(ADMIN, ("idle",), disabled=True)),
            put(Role("admin")),
        ],
    )
    spare = keys.mint("acme", b"s" * 42)
    again = reopen(TenantPolicy(lost), spare.key_id, spare.digest, NOW, operators=True).policy
    admin = again.authenticate_key(keys.parse(spare.secret), NOW)
    assert admin.roles == ("idle", "admin")
    assert again.may_administer(CallContext(admin), "", NOW)
    assert again.may_administer(CallContext(admin), "@cluster", NOW)


def test_documents_are_assembled_from_what_was_stored() -> None:
    stored = [
        (place_of(document)[0], encode(document))
        for collection in (
            (HELD.tenant,),
            HELD.principals,
            HELD.roles,
            HELD.rules,
            HELD.grants,
            HELD.keys,
            HELD.namespaces,
            HELD.issuers,
        )
        for document in collection
    ]
    assert assemble(HELD.version, reversed(stored)) == HELD
    assert assemble(1, stored[1:]) is None
