"""MemGovernance against a model, with crashes, a rival, lost time and readers that lag behind."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import Any, TypeVar

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from memos_ray.actors.policy.governance import MemGovernance
from memos_ray.core.access import keys
from memos_ray.core.access.administration import (
    AdminOperation,
    Changed,
    ExpireKey,
    GiveGrant,
    IssueKey,
    PutNamespace,
    PutPrincipal,
    PutRole,
    PutRule,
    RemoveRole,
    RemoveRule,
    RevokeGrant,
    RevokeKey,
    RotateKey,
)
from memos_ray.core.access.context import Action, CallContext, Principal
from memos_ray.core.access.model import (
    Effect,
    NamespaceKind,
    PrincipalRecord,
    Reach,
    Role,
    Rule,
    default_spec,
)
from memos_ray.core.access.snapshot import PolicyCache, SignedLease, SignedSnapshot
from memos_ray.core.cube.predicate import Nothing
from memos_ray.core.vault.log import Outcome
from memos_ray.errors import (
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    PolicyUnavailableError,
    UnauthenticatedError,
)
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.control_store import MemoryControlStore

KEY = Ed25519PrivateKey.generate()
FIRST = keys.mint("acme", bytes(42))
ADMIN = CallContext(Principal("acme", "user:admin", ("admin",), f"key:{FIRST.key_id}"))
PEOPLE = ("user:ann", "user:bob", "agent:ada")
LEASE_S = 30.0
ROLES = ("nurse", "clerk")

T = TypeVar("T")
people = st.sampled_from(PEOPLE)
roles = st.sampled_from(ROLES)
homes = st.sampled_from(("user:ann", "user:bob"))


class Governed(RuleBasedStateMachine):
    """Named invariants: nothing acknowledged is lost; every change has one event; readers never go
    back; keys work exactly while they should; a grant opens a home exactly while it stands."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.store = MemoryControlStore()
        self.clock = ManualClock()
        self.dice = random.Random(0)
        self.people: dict[str, PrincipalRecord] = {}
        self.roles: set[str] = {"admin"}
        self.rules: dict[str, Rule] = {}  # type: ignore[assignment]
        self.grants: dict[str, tuple[str, str]] = {}
        self.secrets: dict[str, tuple[str, str]] = {FIRST.key_id: (FIRST.secret, "user:admin")}
        self.ends: dict[str, datetime] = {}
        self.rooms: set[str] = set()
        self.changes = 1
        self.denials = 0
        self.cache = PolicyCache(KEY.public_key().public_bytes_raw())
        self.old: list[SignedSnapshot] = []

    @initialize()
    def boot(self) -> None:
        self.governance, self.rival = self.start(), self.start()
        self.run(self.governance.bootstrap("acme", keys.parse(FIRST.secret)))

    def start(self) -> MemGovernance:
        return MemGovernance(self.store, self.clock, self.dice.randbytes, KEY, LEASE_S)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def ask(self, operation: AdminOperation, rival: bool = False) -> Changed:
        governance = self.rival if rival else self.governance
        changed = self.run(governance.change(ADMIN, operation))
        self.changes += 1
        assert changed.version == self.changes
        return changed

    @rule()
    def crash(self) -> None:
        self.governance = self.start()
        self.run(self.governance.bootstrap("acme", keys.parse(FIRST.secret)))

    @rule(seconds=st.sampled_from((1, 20, 100)))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule(name=people, held=st.sets(roles), disabled=st.booleans(), rival=st.booleans())
    def record(self, name: str, held: set[str], disabled: bool, rival: bool) -> None:
        record = PrincipalRecord(name, tuple(sorted(held)), disabled)
        if held <= self.roles:
            self.ask(PutPrincipal(record), rival)
            self.people[name] = record
        else:
            with pytest.raises(NotFoundError):
                self.run(self.governance.change(ADMIN, PutPrincipal(record)))

    @rule(name=roles, rival=st.booleans())
    def define(self, name: str, rival: bool) -> None:
        allow = Rule("r", Effect.ALLOW, (Action.READ,), ("room*",))
        self.ask(PutRole(Role(name, (allow,))), rival)
        self.roles.add(name)

    @rule(name=roles)
    def undefine(self, name: str) -> None:
        if name not in self.roles:
            with pytest.raises(NotFoundError):
                self.run(self.governance.change(ADMIN, RemoveRole(name)))
        elif any(name in record.roles for record in self.people.values()):
            with pytest.raises(ConflictError):
                self.run(self.governance.change(ADMIN, RemoveRole(name)))
        else:
            self.ask(RemoveRole(name))
            self.roles.discard(name)

    @rule(name=st.sampled_from(("a", "b")), subject=people, rival=st.booleans())
    def deny(self, name: str, subject: str, rival: bool) -> None:
        made = Rule(name, Effect.DENY, (Action.UPDATE,), ("*",), (subject,))
        self.ask(PutRule(made), rival)
        self.rules[name] = made

    @rule(name=st.sampled_from(("a", "b")))
    def allow_again(self, name: str) -> None:
        if name in self.rules:
            self.ask(RemoveRule(name))
            del self.rules[name]

    @rule(name=st.sampled_from(("room-1", "room-2")), rival=st.booleans())
    def build(self, name: str, rival: bool) -> None:
        spec = default_spec(name, NamespaceKind.CONTEXTUAL_POOL, "user:admin")
        self.ask(PutNamespace(spec), rival)
        self.rooms.add(name)

    @rule(subject=people, home=homes, rival=st.booleans())
    def give(self, subject: str, home: str, rival: bool) -> None:
        given = GiveGrant(subject, (Action.READ,), home, Reach.PRIVATE)
        self.grants[self.ask(given, rival).id] = (subject, home)

    @precondition(lambda self: self.grants)
    @rule(data=st.data(), rival=st.booleans())
    def take_back(self, data: st.DataObject, rival: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.grants)))
        self.ask(RevokeGrant(key), rival)
        del self.grants[key]

    @rule(name=people, lasts_s=st.sampled_from((None, 10, 90)), rival=st.booleans())
    def issue(self, name: str, lasts_s: int | None, rival: bool) -> None:
        end = None if lasts_s is None else self.clock.now() + timedelta(seconds=lasts_s)
        if name not in self.people:
            with pytest.raises(NotFoundError):
                self.run(self.governance.change(ADMIN, IssueKey(name)))
            return
        changed = self.ask(IssueKey(name, expires_at=end), rival)
        self.keep(changed, name, end)

    def keep(self, changed: Changed, name: str, end: datetime | None) -> None:
        assert changed.secret is not None
        self.secrets[changed.id] = changed.secret, name
        if end is not None:
            self.ends[changed.id] = end

    @rule(data=st.data(), how=st.sampled_from(("revoke", "expire", "rotate")))
    def end_key(self, data: st.DataObject, how: str) -> None:
        key = data.draw(st.sampled_from(sorted(self.secrets.keys() - {FIRST.key_id}) or [""]))
        now = self.clock.now()
        if not key:
            return
        if how == "revoke":
            self.ask(RevokeKey(key))
            self.ends[key] = datetime.min.replace(tzinfo=now.tzinfo)
        elif self.ends.get(key, now + timedelta(1)) <= now:
            with pytest.raises(ConflictError):
                self.run(self.governance.change(ADMIN, RotateKey(key)))
        elif how == "expire":
            self.ask(ExpireKey(key, now))
            self.ends[key] = now
        else:
            end, name = self.ends.get(key), self.secrets[key][1]
            self.keep(self.ask(RotateKey(key, overlap_s=5)), name, end)
            self.ends[key] = min(end or now + timedelta(1), now + timedelta(seconds=5))

    @rule(name=people)
    def overreach(self, name: str) -> None:
        context = CallContext(Principal("acme", name, ("admin",)))
        with pytest.raises(PermissionDeniedError):
            self.run(self.governance.change(context, RevokeKey(FIRST.key_id)))
        self.denials += 1

    @rule(rival=st.booleans())
    def read(self, rival: bool) -> None:
        governance = self.rival if rival else self.governance
        held = self.cache.version("acme")
        news = self.run(governance.wait_for_newer("acme", held, 0))
        if isinstance(news, SignedLease):
            assert held == self.changes
            self.cache.renew(news, "acme", self.clock.now())
        else:
            self.cache.accept(news, "acme", self.clock.now())
            self.old.append(news)
        assert self.cache.policy("acme", self.clock.now()).version == self.changes

    @precondition(lambda self: self.old)
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        snapshot = data.draw(st.sampled_from(self.old))
        now, held = self.clock.now(), self.cache.version("acme")
        if snapshot.version < held or snapshot.expires_at <= now:
            with pytest.raises(PolicyUnavailableError):
                self.cache.accept(snapshot, "acme", now)
        else:
            assert not self.cache.accept(snapshot, "acme", now)
        assert self.cache.version("acme") == held

    @invariant()
    def nothing_acknowledged_is_lost(self) -> None:
        snapshot = self.run(self.start().snapshot("acme"))
        reader = PolicyCache(KEY.public_key().public_bytes_raw())
        reader.accept(snapshot, "acme", self.clock.now())
        policy, now = reader.policy("acme", self.clock.now()), self.clock.now()
        held = policy.documents
        assert held.version == self.changes
        assert {r.id: r for r in held.principals if r.id != "user:admin"} == self.people
        assert {role.name for role in held.roles} == self.roles
        assert {rule.id: rule for rule in held.rules} == self.rules
        assert {g.id: (g.subject, g.namespace) for g in held.grants} == self.grants
        assert {spec.name for spec in held.namespaces} == self.rooms
        assert {key.id for key in held.keys} == self.secrets.keys()
        for key, (secret, name) in self.secrets.items():
            alive = key not in self.ends or now < self.ends[key]
            record = self.people.get(name)
            if alive and (record is None or not record.disabled):
                assert policy.authenticate_key(keys.parse(secret), now).id == name
            else:
                with pytest.raises(UnauthenticatedError):
                    policy.authenticate_key(keys.parse(secret), now)
        for name, record in self.people.items():
            context = CallContext(Principal("acme", name, record.roles))
            seen = {
                home
                for home in ("user:ann", "user:bob")
                if home in policy.visible_namespaces(context, now)
            }
            granted = {home for subject, home in self.grants.values() if subject == name}
            own = {name} & {"user:ann", "user:bob"}
            assert seen == (set() if record.disabled else granted | own)
            denied = any(name in rule.subjects for rule in self.rules.values()) or record.disabled
            may_change = policy.permit(context, Action.UPDATE, name, now) != Nothing()
            assert may_change is not denied

    @invariant()
    def every_change_has_one_event(self) -> None:
        events = self.store.events(0, 10_000)
        done = [event for event in events if event.outcome is Outcome.DONE]
        assert [event.detail["policy_version"] for event in done] == list(range(1, len(done) + 1))
        assert len(done) == self.changes
        assert len(events) - len(done) == self.denials

    @invariant()
    def readers_fail_closed(self) -> None:
        until = self.cache.expires_at("acme")
        if until is None or until <= self.clock.now():
            with pytest.raises(PolicyUnavailableError):
                self.cache.policy("acme", self.clock.now())
        else:
            assert self.cache.policy("acme", self.clock.now()).version <= self.changes

    def teardown(self) -> None:
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


Governed.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestGovernance = Governed.TestCase
