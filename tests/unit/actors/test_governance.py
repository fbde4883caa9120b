"""MemGovernance on both control stores: bootstrap, changes, snapshots, audit, two at once."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from memos_ray.actors.policy.governance import MemGovernance
from memos_ray.adapters.sql.control import SqlControlStore
from memos_ray.core.access import keys
from memos_ray.core.access.administration import (
    CreateTenant,
    GiveGrant,
    IssueKey,
    PutIssuer,
    PutNamespace,
    PutPrincipal,
    PutRule,
    RemoveIssuer,
    RevokeGrant,
    RevokeKey,
    SetTenant,
)
from memos_ray.core.access.context import Action, CallContext, Principal
from memos_ray.core.access.model import (
    CLUSTER,
    Algorithm,
    Effect,
    JwtIssuer,
    NamespaceKind,
    PrincipalRecord,
    Reach,
    Rule,
    VerificationKey,
    default_spec,
)
from memos_ray.core.access.policy import TenantPolicy
from memos_ray.core.access.snapshot import DIRECTORY, PolicyCache, SignedLease, SignedSnapshot
from memos_ray.core.cube.predicate import Nothing
from memos_ray.core.vault.log import ControlChange, Event, Outcome
from memos_ray.errors import (
    ConflictError,
    InvalidInputError,
    OverloadedError,
    PermissionDeniedError,
    PolicyUnavailableError,
    StoreCorruptError,
    UnauthenticatedError,
    VersionConflictError,
)
from memos_ray.ports import ControlStorePort, EventQuery
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.control_store import MemoryControlStore

KEY = Ed25519PrivateKey.generate()
FIRST = keys.mint("acme", bytes(42))
JWK = '{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}'
ISSUER = JwtIssuer("idp", "https://idp", "memos", (VerificationKey("k", Algorithm.EDDSA, JWK),))
ANN = PrincipalRecord("user:ann")


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ControlStorePort]:
    made: ControlStorePort = (
        MemoryControlStore() if request.param == "memory" else SqlControlStore.embedded(tmp_path)
    )
    yield made
    made.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


Start = Callable[..., MemGovernance]


@pytest.fixture
def start(store: ControlStorePort, clock: ManualClock) -> Start:
    def make(held: ControlStorePort = store, lease_s: float = 30.0) -> MemGovernance:
        return MemGovernance(held, clock, os.urandom, KEY, lease_s)

    return make


async def founded(start: Start) -> tuple[MemGovernance, CallContext]:
    """Starts an authority with the tenant `acme`, and logs its administrator in."""
    governance = start()
    await governance.bootstrap("acme", keys.parse(FIRST.secret))
    return governance, await login(governance, FIRST.secret)


async def login(governance: MemGovernance, secret: str) -> CallContext:
    proof = keys.parse(secret)
    policy = await policy_of(governance, proof.tenant)
    now = (await governance.snapshot(proof.tenant)).issued_at
    return CallContext(policy.authenticate_key(proof, now), request_id="r-1")


async def policy_of(governance: MemGovernance, tenant: str = "acme") -> TenantPolicy:
    """Reads a tenant's policy as every reader does."""
    snapshot = await governance.snapshot(tenant)
    cache = PolicyCache(governance.public_key())
    cache.accept(snapshot, tenant, snapshot.issued_at)
    return cache.policy(tenant, snapshot.issued_at)


async def events(governance: MemGovernance, admin: CallContext, **parts: str) -> list[Event]:
    return await governance.events(admin, EventQuery(**parts), 0, 100)  # type: ignore[arg-type]


async def test_the_first_start_makes_a_tenant_once(
    start: Start, store: ControlStorePort, clock: ManualClock
) -> None:
    governance = start()
    secret = await governance.bootstrap("acme")
    assert secret is not None
    version = (await governance.snapshot("acme")).version
    assert await governance.bootstrap("acme") is None
    assert await start().bootstrap("acme") is None
    assert (await governance.snapshot("acme")).version == version
    admin = await login(governance, secret)
    policy = await policy_of(governance)
    for namespace in ("", CLUSTER):
        assert policy.may_administer(admin, namespace, clock.now())
    assert not any(secret.encode()[-51:-8] in record.body for record in store.load("acme"))


async def test_a_key_that_the_boot_code_made_survives_a_lost_answer(start: Start) -> None:
    proof = keys.parse(FIRST.secret)
    for _ in range(2):
        governance = start()
        assert await governance.bootstrap("acme", proof) is None
        assert (await login(governance, FIRST.secret)).principal.id == "user:admin"
    assert len((await policy_of(governance)).documents.keys) == 1


async def test_machine_operators_get_back_in_with_a_new_first_key(start: Start) -> None:
    governance, admin = await founded(start)
    await governance.change(admin, RevokeKey(FIRST.key_id))
    with pytest.raises(UnauthenticatedError):
        await login(governance, FIRST.secret)
    # The revoked key stays revoked, however often it is put forward.
    await governance.bootstrap("acme", keys.parse(FIRST.secret))
    with pytest.raises(UnauthenticatedError):
        await login(governance, FIRST.secret)
    spare = keys.mint("acme", b"s" * 42)
    await governance.bootstrap("acme", keys.parse(spare.secret))
    again = await login(governance, spare.secret)
    assert [event.operation for event in await events(governance, again)][-1] == "bootstrap"
    with pytest.raises(InvalidInputError):
        await governance.bootstrap("globex", keys.parse(spare.secret))


async def test_two_first_starts_at_once_make_one_tenant(start: Start) -> None:
    secrets = await asyncio.gather(*(start().bootstrap("acme") for _ in range(4)))
    assert sum(secret is not None for secret in secrets) == 1
    assert len((await policy_of(start())).documents.keys) == 1


async def test_a_change_is_durable_visible_and_on_record(start: Start) -> None:
    governance, admin = await founded(start)
    changed = await governance.change(admin, PutPrincipal(ANN))
    assert (changed.tenant, changed.id, changed.secret) == ("acme", "user:ann", None)
    for each in (governance, start()):
        policy = await policy_of(each)
        assert policy.version == changed.version
        assert ANN in policy.documents.principals
    event = (await events(governance, admin))[-1]
    assert (event.operation, event.principal, event.tenant) == (
        "put_principal",
        "user:admin",
        "acme",
    )
    assert (event.credential, event.request_id) == (f"key:{FIRST.key_id}", "r-1")
    assert event.outcome is Outcome.DONE
    assert event.detail["policy_version"] == changed.version
    assert '"user:ann"' in str(event.detail["principal/user:ann"])


async def test_a_refused_attempt_is_on_record_and_changes_nothing(start: Start) -> None:
    governance, admin = await founded(start)
    await governance.change(admin, PutPrincipal(ANN))
    version = (await governance.snapshot("acme")).version
    ann = CallContext(Principal("acme", "user:ann"))
    rule = Rule("mine", Effect.ALLOW, (Action.READ,), ("*",), ("user:ann",))
    for operation in (PutRule(rule), CreateTenant("globex")):
        with pytest.raises(PermissionDeniedError):
            await governance.change(ann, operation)
    assert (await governance.snapshot("acme")).version == version
    denied = await events(governance, admin, principal="user:ann")
    assert [(e.operation, e.outcome, e.namespace) for e in denied] == [
        ("put_rule", Outcome.DENIED, ""),
        ("create_tenant", Outcome.DENIED, CLUSTER),
    ]
    for call in (governance.events(ann, EventQuery(), 0, 9), governance.documents(ann)):
        with pytest.raises(PermissionDeniedError):
            await call


async def test_a_key_is_shown_once_and_kept_nowhere(
    start: Start, store: ControlStorePort, clock: ManualClock
) -> None:
    governance, admin = await founded(start)
    await governance.change(admin, PutPrincipal(ANN))
    issued = await governance.change(admin, IssueKey("user:ann", (Action.READ,)))
    assert issued.secret is not None
    assert issued.secret not in repr(issued)
    proof = keys.parse(issued.secret)
    kept = b"".join(record.body for record in store.load("acme"))
    told = str(await events(governance, admin)) + repr(await governance.documents(admin))
    body = (await governance.snapshot("acme")).body
    for hidden in (issued.secret[-51:-8], proof.value.hex()):
        assert hidden.encode() not in kept + body
        assert hidden not in told
    assert keys.proof_digest(proof).encode() in kept
    assert keys.proof_digest(proof) not in told
    context = await login(governance, issued.secret)
    await governance.change(admin, RevokeKey(issued.id))
    policy = await policy_of(governance)
    assert policy.permit(context, Action.READ, "user:ann", clock.now()) == Nothing()


async def test_tenants_are_made_by_operators_and_do_not_see_one_another(start: Start) -> None:
    governance, admin = await founded(start)
    made = await governance.change(admin, CreateTenant("globex"))
    assert made.secret is not None
    with pytest.raises(ConflictError):
        await governance.change(admin, CreateTenant("globex"))
    other = await login(governance, made.secret)
    await governance.change(other, PutPrincipal(PrincipalRecord("user:gil")))
    assert {e.tenant for e in await events(governance, other)} == {"globex"}
    assert await events(governance, other, tenant="acme") == await events(governance, other)
    assert "gil" not in str(await governance.documents(admin))
    assert "gil" not in str(await events(governance, admin))
    # Writing itself the operators' rule gives another tenant nothing.
    grab = Rule("grab", Effect.ALLOW, (Action.ADMINISTER,), (CLUSTER,), ("*",))
    await governance.change(other, PutRule(grab))
    with pytest.raises(PermissionDeniedError):
        await governance.change(other, CreateTenant("initech"))
    await governance.change(admin, SetTenant("globex", True))
    with pytest.raises(UnauthenticatedError):
        await login(governance, made.secret)
    with pytest.raises(PermissionDeniedError):
        await governance.change(other, PutPrincipal(ANN))
    with pytest.raises(PermissionDeniedError):
        await governance.change(CallContext(Principal("nobody", "user:x")), PutPrincipal(ANN))


async def test_the_directory_knows_tenants_and_whose_tokens_are_whose(start: Start) -> None:
    governance, admin = await founded(start)
    made = await governance.change(admin, CreateTenant("globex"))
    other = await login(governance, made.secret or "")
    await governance.change(other, PutIssuer(ISSUER))
    with pytest.raises(ConflictError):
        await governance.change(admin, PutIssuer(ISSUER))
    snapshot = await governance.snapshot(DIRECTORY)
    cache = PolicyCache(governance.public_key())
    cache.accept(snapshot, DIRECTORY, snapshot.issued_at)
    directory = cache.directory(snapshot.issued_at)
    assert (directory.operators, directory.tenants) == ("acme", ("acme", "globex"))
    assert directory.tenant_of("https://idp", ("memos",)) == "globex"
    await governance.change(other, RemoveIssuer("idp"))
    await governance.change(admin, PutIssuer(ISSUER))


async def test_owners_see_the_grants_of_their_namespace(start: Start) -> None:
    governance, admin = await founded(start)
    await governance.change(admin, PutPrincipal(ANN))
    ann = CallContext(Principal("acme", "user:ann"))
    given = await governance.change(
        ann, GiveGrant("agent:ada", (Action.READ,), "user:ann", Reach.PRIVATE)
    )
    await governance.change(
        ann, PutNamespace(default_spec("user:ann/work", NamespaceKind.USER_PRIVATE, "user:ann"))
    )
    mine = await governance.documents(ann, "user:ann")
    assert [grant.id for grant in mine.grants] == [given.id]
    assert (mine.principals, mine.keys, mine.rules) == ((), (), ())
    work = await governance.documents(ann, "user:ann/work")
    assert [spec.name for spec in work.namespaces] == ["user:ann/work"]
    await governance.change(ann, RevokeGrant(given.id))
    assert (await governance.documents(ann, "user:ann")).grants == ()


async def test_two_authorities_change_one_tenant_without_losing_anything(start: Start) -> None:
    one, admin = await founded(start)
    two = start()
    names = [f"user:u{n}" for n in range(12)]
    await asyncio.gather(
        *(
            (one, two)[n % 2].change(admin, PutPrincipal(PrincipalRecord(name)))
            for n, name in enumerate(names)
        )
    )
    for each in (one, two):
        policy = await policy_of(each)
        assert {*names} < {record.id for record in policy.documents.principals}
        assert policy.version == 1 + len(names)
    recorded = await events(one, admin, operation="put_principal")
    assert [event.detail["policy_version"] for event in recorded] == list(range(2, 14))


class Contested(MemoryControlStore):
    """A store on which somebody else is always faster."""

    contested = False

    def commit(self, changes: Sequence[ControlChange], events: Sequence[Event]) -> None:
        if self.contested and changes:
            raise VersionConflictError("a document has moved on")
        super().commit(changes, events)


async def test_a_change_that_keeps_losing_is_given_up_by_name(start: Start) -> None:
    held = Contested()
    governance = start(held)
    await governance.bootstrap("acme", keys.parse(FIRST.secret))
    admin = await login(governance, FIRST.secret)
    held.contested = True
    with pytest.raises(OverloadedError):
        await governance.change(admin, PutPrincipal(ANN))
    assert ANN not in (await policy_of(governance)).documents.principals


async def test_unknown_tenants_have_no_policy(start: Start) -> None:
    governance, _ = await founded(start)
    for ask in (governance.snapshot("globex"), governance.wait_for_newer("globex", 0, 1)):
        with pytest.raises(PolicyUnavailableError):
            await ask


async def test_an_incomplete_policy_is_not_served(start: Start, store: ControlStorePort) -> None:
    await founded(start)
    record = store.get("acme", "tenant", "acme")
    assert record is not None
    store.commit([ControlChange("acme", "tenant", "acme", None, record.revision)], [])
    with pytest.raises(StoreCorruptError):
        await start().snapshot("acme")


async def test_a_poll_returns_at_once_when_there_is_news(start: Start) -> None:
    governance, admin = await founded(partial(start, lease_s=3_600))
    news = await governance.wait_for_newer("acme", 0, 3_600)
    assert isinstance(news, SignedSnapshot)
    poll = asyncio.create_task(governance.wait_for_newer("acme", news.version, 3_600))
    other = asyncio.create_task(governance.wait_for_newer(DIRECTORY, 1, 3_600))
    await asyncio.sleep(0.05)
    assert not poll.done()
    async with asyncio.timeout(120):
        await governance.change(admin, CreateTenant("globex"))
        assert isinstance(await other, SignedSnapshot)
        assert not poll.done()
        changed = await governance.change(admin, PutPrincipal(ANN))
        found = await poll
    assert isinstance(found, SignedSnapshot)
    assert found.version == changed.version


async def test_a_quiet_poll_renews_the_lease(start: Start, clock: ManualClock) -> None:
    governance, _ = await founded(start)
    first = await governance.snapshot("acme")
    cache = PolicyCache(governance.public_key())
    cache.accept(first, "acme", clock.now())
    clock.advance(20)
    lease = await governance.wait_for_newer("acme", first.version, 0.05)
    assert isinstance(lease, SignedLease)
    cache.renew(lease, "acme", clock.now())
    assert cache.expires_at("acme") == clock.now() + timedelta(seconds=30)
    clock.advance(29)
    assert cache.policy("acme", clock.now()).version == first.version


async def test_a_poll_ends_well_before_the_lease_and_not_always_alike(start: Start) -> None:
    governance = start(lease_s=0.2)
    await governance.bootstrap("acme", keys.parse(FIRST.secret))
    version = (await governance.snapshot("acme")).version
    waits = []
    for _ in range(6):
        started = time.perf_counter()
        await governance.wait_for_newer("acme", version, 60)
        waits.append(time.perf_counter() - started)
    assert min(waits) >= 0.05
    assert max(waits) - min(waits) > 0.001


async def test_a_poll_notices_what_another_authority_changed(start: Start) -> None:
    one, admin = await founded(start)
    version = (await one.snapshot("acme")).version
    poll = asyncio.create_task(one.wait_for_newer("acme", version, 0.2))
    await asyncio.sleep(0.02)
    await start().change(admin, PutPrincipal(ANN))
    found = await poll
    if isinstance(found, SignedLease):
        # The change took longer than the poll.
        found = await one.wait_for_newer("acme", version, 0.2)
    assert isinstance(found, SignedSnapshot)
    assert found.version == version + 1


async def test_the_private_key_stays_inside(start: Start) -> None:
    governance, _ = await founded(start)
    snapshot = await governance.snapshot("acme")
    raw = KEY.private_bytes_raw()
    assert raw not in snapshot.body
    assert raw.hex() not in f"{governance!r} {snapshot!r}"
    assert governance.public_key() == KEY.public_key().public_bytes_raw()
