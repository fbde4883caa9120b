"""No path of the memory API shows a caller what the policy hides: all of it against a slow model.

Random tenants, rules, grants and keys; memories that are written, shared, changed and deleted;
and every question that can be asked. An answer must hold exactly what the model lets through, and
no word of anything else, not even in an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
)

from memos_ray.actors.policy.store import PolicyStore
from memos_ray.config import VaultSettings
from memos_ray.core.access import keys
from memos_ray.core.access.administration import CreateTenant, SetTenant
from memos_ray.core.access.context import Action, CallContext
from memos_ray.core.access.documents import (
    DocumentChange,
    TenantDocuments,
    place_of,
    put,
)
from memos_ray.core.access.founding import Ruling
from memos_ray.core.access.model import (
    Effect,
    NamespaceMode,
    PrincipalRecord,
    Reach,
    Rule,
    Tenant,
)
from memos_ray.core.access.policy import TenantPolicy
from memos_ray.core.cube.cube import MemCube, State
from memos_ray.core.cube.facets import facets_of
from memos_ray.core.cube.metadata import ExpiresAt, Forever, Visibility
from memos_ray.core.vault.log import CubeKey, Event
from memos_ray.core.vault.ring import partition_of
from memos_ray.errors import (
    ClientError,
    MemosError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.memories.models import MemoryChange, NewMemory, SearchQuery, Sharing
from memos_ray.testing import policies, policy_model
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.control_store import MemoryControlStore
from memos_ray.testing.cubes import make_cube
from memos_ray.testing.in_process import in_process
from memos_ray.testing.record_store import MemoryRecordStore

TENANTS = ("acme", "globex")
PARTITIONS = 4
DENIED = (NotFoundError, PermissionDeniedError)
CHANGES = {
    "update": Action.UPDATE,
    "retag": Action.UPDATE,
    "rollback": Action.UPDATE,
    "freeze": Action.UPDATE,
    "thaw": Action.UPDATE,
    "restore": Action.UPDATE,
    "share": Action.SHARE,
    "delete": Action.DELETE,
    "erase": Action.DELETE,
}

T = TypeVar("T")
tenants = st.sampled_from((*TENANTS[:1] * 4, TENANTS[1]))
callers = st.builds(
    Caller,
    st.just(""),
    st.sampled_from((None, *policies.PURPOSES)),
    st.sampled_from((None, None, None, *policies.ROLES)),
    st.sampled_from((None, *policies.APPLICATIONS)),
)
people = st.integers(0, len(policies.PRINCIPALS) - 1)
few_names = st.lists(st.sampled_from(policies.SUBJECTS[:-1]), max_size=2, unique=True)
few_tags = st.lists(st.sampled_from(policies.TAGS), max_size=2, unique=True)
few_labels = st.lists(st.sampled_from(policies.SENSITIVITY), max_size=1)
anywhere = st.sampled_from(policies.NAMESPACES)
new_memories = st.fixed_dictionaries(
    {
        "namespace": st.integers(0, len(policies.NAMESPACES) - 1),
        "visibility": st.sampled_from(tuple(Visibility)),
        "readers": few_names,
        "writers": few_names,
        "sharers": few_names,
        "tags": few_tags,
        "sensitivity": few_labels,
        "expires": st.sampled_from((None, None, None, *policies.MOMENTS[3:])),
    }
)


@dataclass
class Written:
    """A memory as its writer knows it: which words stand in which version, nowhere else."""

    tenant: str
    id: str
    namespace: str
    secrets: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Question:
    """Who asks, and what the model lets it read."""

    tenant: str
    caller: Caller
    context: CallContext
    readable: dict[str, MemCube]


class Isolation(RuleBasedStateMachine):
    """Each rule asks one thing, as somebody, and compares the answer with the model."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.stack = AsyncExitStack()
        self.clock = ManualClock(policies.NOON)
        self.records = MemoryRecordStore()
        self.control = MemoryControlStore()
        self.documents: dict[str, TenantDocuments] = {}
        self.keys: dict[str, list[keys.MintedKey]] = {}
        self.memories: list[Written] = []
        self.moments: list[datetime] = []
        self.serial = 0

    @initialize(
        acme=policies.tenants("acme"),
        globex=policies.tenants("globex"),
        first=st.lists(new_memories, min_size=6, max_size=10),
    )
    def begin(
        self, acme: TenantDocuments, globex: TenantDocuments, first: list[dict[str, Any]]
    ) -> None:
        self.run(self.start())
        for number, documents in enumerate((acme, globex)):
            tenant = documents.tenant.id
            self.run(self.memos.admin.change(self.memos.administrator, CreateTenant(tenant)))
            self.keys[tenant] = [
                keys.mint(tenant, bytes([number, person]) * 21)
                for person in range(len(policies.PRINCIPALS))
            ]
            self.install(_open(documents))
        for place, fields in enumerate(first):
            tenant = TENANTS[place % 4 == 3]
            namespace = policies.NAMESPACES[fields.pop("namespace")]
            self.add(tenant, place % 4, Caller(""), namespace, fields)
        self.install(acme)
        self.install(globex)

    async def start(self) -> None:
        folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        self.memos = await self.stack.enter_async_context(
            in_process(
                Path(folder),
                store=self.records,
                control=self.control,
                clock=self.clock,
                settings=VaultSettings(partitions=PARTITIONS),
            )
        )

    def teardown(self) -> None:
        self.run(self.stack.aclose())
        self.loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def install(self, documents: TenantDocuments) -> None:
        """Replaces a tenant's policy in the store, and lets the gateway hear of it."""
        tenant = documents.tenant.id
        store = PolicyStore(self.control)
        before = store.policy(tenant)
        assert before is not None
        minted = self.keys[tenant]
        found = replace(
            documents,
            version=before.content.version + 1,
            keys=tuple(
                replace(key, id=mint.key_id, digest=mint.digest)
                for key, mint in zip(documents.keys, minted, strict=True)
            ),
        )
        changes = {place_of(each): put(each) for each in _each(found)}
        for kind, key in before.revisions:
            changes.setdefault((kind, key), DocumentChange(kind, key, None))
        ruling = Ruling(TenantPolicy(found), tuple(changes.values()), "")
        store.commit(before, ruling, None, Event(0, self.clock.now(), tenant, "", "test", "test"))
        self.documents[tenant] = found
        # A change through the front door, so that it hears of the one behind its back.
        touched = SetTenant(tenant, found.tenant.disabled)
        self.run(self.memos.admin.change(self.memos.administrator, touched))

    @rule(
        data=st.data(),
        tenant=tenants,
        verbs=st.lists(st.sampled_from(("retag", "share", "delete", "restore")), max_size=4),
    )
    def rules_change(self, data: st.DataObject, tenant: str, verbs: list[str]) -> None:
        """In between, everybody may do everything, so that memories change in all places."""
        self.install(_open(self.documents[tenant]))
        for verb in verbs:
            mine = [memory for memory in self.memories if memory.tenant == tenant]
            if mine:
                memory = data.draw(st.sampled_from(mine))
                memory.secrets.append(self.secret())
                with contextlib.suppress(ClientError):
                    self.run(
                        self.do(
                            self.owner(memory),
                            memory,
                            verb,
                            data.draw(few_names),
                            data.draw(few_tags),
                            data.draw(st.sampled_from(tuple(Visibility))),
                        )
                    )
        self.install(data.draw(policies.tenants(tenant)))

    @rule(hours=st.sampled_from((1, 1, 30)))
    def time_passes(self, hours: int) -> None:
        self.clock.advance(3600 * hours)

    @rule(tenant=tenants, person=people, caller=callers, fields=new_memories, home=st.booleans())
    def somebody_adds(
        self, tenant: str, person: int, caller: Caller, fields: dict[str, Any], home: bool
    ) -> None:
        namespace = policies.NAMESPACES[fields.pop("namespace")]
        place = policies.PRINCIPALS[person] if home else namespace
        self.add(tenant, person, caller, place, fields)

    def add(
        self, tenant: str, person: int, caller: Caller, namespace: str, fields: dict[str, Any]
    ) -> None:
        secret = self.secret()
        question = self.asked(tenant, person, caller)
        if question is None:
            return
        expires = fields.pop("expires")
        planned = make_cube(
            tenant=tenant,
            namespace=namespace,
            owner=question.context.principal.id,
            lifespan=None if expires is None else ExpiresAt(expires),
            **{  # type: ignore[arg-type]
                name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()
            },
        )
        memory = NewMemory(text=f"common words and {secret}", expires_at=expires, **fields)
        report = self.run(self.memos.service.add(question.caller, [memory], namespace))
        self.watch(report.model_dump_json(), question)
        (result,) = report.results
        assert result.ok == self.allowed(question, Action.CREATE, planned), result.error
        if result.error is not None:
            assert result.error.code in [kind.code for kind in DENIED]
        else:
            self.memories.append(Written(tenant, result.id or "", namespace, [secret]))

    @precondition(lambda self: self.memories)
    @rule(
        data=st.data(),
        tenant=tenants,
        person=people,
        caller=callers,
        verb=st.sampled_from(tuple(CHANGES)),
        names=few_names,
        tags=few_tags,
        visibility=st.sampled_from(tuple(Visibility)),
    )
    def change(
        self,
        data: st.DataObject,
        tenant: str,
        person: int,
        caller: Caller,
        verb: str,
        names: list[str],
        tags: list[str],
        visibility: Visibility,
    ) -> None:
        memory = data.draw(st.sampled_from(self.memories))
        memory.secrets.append(self.secret())
        question = self.asked(tenant, person, caller)
        if question is None:
            return
        head = self.head(memory) if tenant == memory.tenant else None
        allowed = head is not None and self.may_change(question, verb, head)
        try:
            self.run(self.do(question.caller, memory, verb, names, tags, visibility))
        except MemosError as error:
            self.watch(f"{error} {error.details}", question, named={memory.id})
            if not allowed:
                expected = (
                    PermissionDeniedError if memory.id in question.readable else NotFoundError
                )
                assert type(error) is expected, (verb, error)
            else:
                assert not isinstance(error, DENIED), (verb, error)
        else:
            assert allowed, f"{verb} was not refused"
            if verb == "erase":
                self.memories.remove(memory)

    async def do(
        self,
        caller: Caller,
        memory: Written,
        verb: str,
        names: list[str],
        tags: list[str],
        visibility: Visibility,
    ) -> None:
        service, id, place = self.memos.service, memory.id, memory.namespace
        match verb:
            case "update":
                text = f"common words, now with {memory.secrets[-1]}"
                await service.update(caller, id, MemoryChange(text=text), place)
            case "retag":
                change = MemoryChange(mode="overwrite", text=memory.secrets[-1], tags=tags)
                await service.update(caller, id, change, place)
            case "share":
                sharing = Sharing(readers=names[:1], remove=names[1:], visibility=visibility)
                await service.share(caller, id, sharing, place)
            case "rollback":
                await service.rollback(caller, id, 1, place)
            case "restore":
                await service.restore(caller, id, place)
            case "delete" | "erase":
                await service.delete(caller, id, place, hard=verb == "erase")
            case _:
                await service.freeze(caller, id, place, frozen=verb == "freeze")

    @precondition(lambda self: self.memories)
    @rule(data=st.data(), tenant=tenants, person=people, caller=callers)
    def one_memory_is_asked_for(
        self, data: st.DataObject, tenant: str, person: int, caller: Caller
    ) -> None:
        memory = data.draw(st.sampled_from(self.memories))
        question = self.asked(tenant, person, caller)
        if question is None:
            return
        service, place, id = self.memos.service, memory.namespace, memory.id
        head = question.readable.get(id)
        last = head.version.number if head else 1
        for read in (
            service.get(question.caller, id, place),
            service.get(question.caller, id, place, version=last),
            service.history(question.caller, id, place),
            service.diff(question.caller, id, 1, last, place),
        ):
            try:
                found = self.run(read)
            except NotFoundError as error:
                assert head is None, error
                self.watch(f"{error} {error.details}", question, named={id})
            else:
                assert head is not None
                self.watch(found.model_dump_json(), question)

    @precondition(lambda self: self.memories)
    @rule(data=st.data(), tenant=tenants, person=people, caller=callers)
    def the_absent_and_the_hidden_look_alike(
        self, data: st.DataObject, tenant: str, person: int, caller: Caller
    ) -> None:
        memory = data.draw(st.sampled_from(self.memories))
        question = self.asked(tenant, person, caller)
        if question is None or memory.id in question.readable:
            return
        for verb in ("get", "history", "diff", *CHANGES):
            action = CHANGES.get(verb)
            head = self.head(memory) if tenant == memory.tenant else None
            if action is not None and head is not None and self.may_change(question, verb, head):
                continue
            for place in (memory.namespace, None):
                hidden = self.refusal(question.caller, memory, verb, place)
                twin = replace(memory, id=_other(memory.id))
                absent = self.refusal(question.caller, twin, verb, place)
                assert hidden == absent.replace(twin.id, memory.id), verb

    def refusal(self, caller: Caller, memory: Written, verb: str, place: str | None) -> str:
        service, id = self.memos.service, memory.id
        reads = {
            "get": lambda: service.get(caller, id, place),
            "history": lambda: service.history(caller, id, place),
            "diff": lambda: service.diff(caller, id, 1, 2, place),
        }
        asked = replace(memory, namespace=place)  # type: ignore[arg-type]
        act = reads.get(verb) or (
            lambda: self.do(caller, asked, verb, ["user:ann"], ["red"], Visibility.SHARED)  # type: ignore[return-value]
        )
        try:
            self.run(act())
        except MemosError as error:
            return f"{type(error).__name__} {error} {sorted(error.details)}"
        raise AssertionError(f"{verb} was not refused")

    @rule(
        tenant=tenants,
        person=people,
        caller=callers,
        namespace=anywhere,
        deleted=st.booleans(),
        limit=st.integers(1, 3),
    )
    def a_namespace_is_listed(
        self, tenant: str, person: int, caller: Caller, namespace: str, deleted: bool, limit: int
    ) -> None:
        question = self.asked(tenant, person, caller)
        if question is None:
            return
        expected = {
            id
            for id, cube in question.readable.items()
            if cube.namespace == namespace and (deleted or cube.state is not State.DELETED)
        }
        found: list[str] = []
        cursor: str | None = None
        while True:
            try:
                page = self.run(
                    self.memos.service.list(
                        question.caller,
                        namespace,
                        include_deleted=deleted,
                        cursor=cursor,
                        limit=limit,
                    )
                )
            except DENIED as error:
                assert not expected, error
                return
            self.watch(page.model_dump_json(), question)
            found += [memory.id for memory in page.memories]
            cursor = page.cursor
            if cursor is None:
                break
        assert sorted(found) == sorted(expected)

    @rule(
        data=st.data(),
        tenant=tenants,
        person=people,
        caller=callers,
        namespaces=st.lists(anywhere, min_size=1, max_size=3, unique=True),
        text=st.sampled_from(("common words", "")),
        past=st.booleans(),
    )
    def memories_are_searched_for(
        self,
        data: st.DataObject,
        tenant: str,
        person: int,
        caller: Caller,
        namespaces: list[str],
        text: str,
        past: bool,
    ) -> None:
        question = self.asked(tenant, person, caller)
        if question is not None:
            at = data.draw(st.sampled_from(self.moments)) if past else None
            self.search(question, namespaces, text, at)

    @rule(data=st.data(), tenant=tenants, person=people, caller=callers)
    def somebody_looks_everywhere(
        self, data: st.DataObject, tenant: str, person: int, caller: Caller
    ) -> None:
        question = self.asked(tenant, person, caller)
        if question is None:
            return
        moments = data.draw(st.lists(st.sampled_from(self.moments), max_size=2))
        for namespace in policies.NAMESPACES:
            for at in (None, *moments):
                self.search(question, [namespace], "", at)

    def search(
        self, question: Question, namespaces: list[str], text: str, at: datetime | None
    ) -> None:
        query = SearchQuery(
            query=text, namespaces=namespaces, limit=1000, as_of=at, explain=True, parse=False
        )
        expected = {
            id
            for id, cube in question.readable.items()
            if cube.namespace in namespaces and self.was_alive(question.tenant, cube, at)
        }
        try:
            found = self.run(self.memos.service.search(question.caller, query))
        except DENIED as error:
            permitted = [self.some_readable(question, name) for name in namespaces]
            assert not all(permitted), error
            return
        assert {hit.memory.id for hit in found.hits} == expected
        self.watch(found.model_dump_json(), question)
        assert found.unembedded <= len(expected)

    @rule(tenant=tenants, person=people, caller=callers, namespace=anywhere)
    def the_log_is_read(self, tenant: str, person: int, caller: Caller, namespace: str) -> None:
        question = self.asked(tenant, person, caller)
        if question is None:
            return
        found = self.run(self.memos.doorway.logs.log(question.caller, namespace, limit=1000))
        policy = TenantPolicy(self.documents[tenant])
        if not policy.may_administer(question.context, "", self.clock.now()):
            me = question.context.principal.id
            assert {entry.principal for entry in found.entries} <= {me}
        text = found.model_dump_json()
        assert not [s for memory in self.memories for s in memory.secrets if s in text]

    def secret(self) -> str:
        self.serial += 1
        self.clock.advance(1)
        self.moments.append(self.clock.now())
        self.clock.advance(1)
        return f"secret{self.serial}x"

    def asked(self, tenant: str, person: int, caller: Caller) -> Question | None:
        """Puts a question together; nothing when its asker is turned away at the door."""
        secret = self.keys[tenant][person].secret
        known = replace(caller, credential=secret)
        policy = TenantPolicy(self.documents[tenant])
        try:
            principal = policy.authenticate_key(keys.parse(secret), self.clock.now())
        except UnauthenticatedError as error:
            self.turned_away(known, type(error))
            return None
        if caller.role is not None and caller.role not in principal.roles:
            self.turned_away(known, PermissionDeniedError)
            return None
        context = CallContext(
            principal,
            caller.purpose,
            caller.role,
            policy.application(principal) or caller.application,
        )
        question = Question(tenant, known, context, {})
        heads = [self.head(memory) for memory in self.memories if memory.tenant == tenant]
        readable = {head.id: head for head in heads if self.allowed(question, Action.READ, head)}
        return replace(question, readable=readable)

    def turned_away(self, caller: Caller, kind: type[MemosError]) -> None:
        with pytest.raises(kind):
            self.run(self.memos.service.list(caller))

    def allowed(self, question: Question, action: Action, head: MemCube) -> bool:
        return policy_model.allowed(
            self.documents[question.tenant],
            question.context,
            action,
            facets_of(head),
            head.namespace,
            self.clock.now(),
        )

    def may_change(self, question: Question, verb: str, head: MemCube) -> bool:
        """As the policy says; what has expired comes back for who might change it before."""
        if self.allowed(question, CHANGES[verb], head):
            return True
        if verb != "restore" and not (verb == "thaw" and head.frozen):
            return False
        lasting = replace(head, governance=replace(head.governance, lifespan=Forever()))
        return self.allowed(question, CHANGES[verb], lasting)

    def some_readable(self, question: Question, namespace: str) -> bool:
        return any(cube.namespace == namespace for cube in question.readable.values())

    def was_alive(self, tenant: str, cube: MemCube, at: datetime | None) -> bool:
        if at is None:
            return cube.state is not State.DELETED
        place = partition_of(tenant, cube.namespace, 0, PARTITIONS), CubeKey(tenant, cube.id)
        numbers = [
            info.number
            for info in self.records.versions(*place, 10**9, 10**9)
            if info.created_at <= at
        ]
        then = self.records.version(*place, max(numbers)) if numbers else None
        return then is not None and then.state is not State.DELETED

    def owner(self, memory: Written) -> Caller:
        number = policies.PRINCIPALS.index(self.head(memory).governance.owner)
        return Caller(self.keys[memory.tenant][number].secret)

    def head(self, memory: Written) -> MemCube:
        key = CubeKey(memory.tenant, memory.id)
        partition = partition_of(memory.tenant, memory.namespace, 0, PARTITIONS)
        return self.records.heads(partition, [key])[key]

    def watch(self, text: str, question: Question, named: Sequence[str] | set[str] = ()) -> None:
        """No word and no name of a memory that the asker may not read stands in an answer."""
        for memory in self.memories:
            if memory.tenant == question.tenant and memory.id in question.readable:
                continue
            assert not [secret for secret in memory.secrets if secret in text]
            assert memory.id in named or memory.id not in text


def _each(documents: TenantDocuments) -> Iterator[Any]:
    yield documents.tenant
    yield from documents.principals
    yield from documents.roles
    yield from documents.rules
    yield from documents.grants
    yield from documents.keys
    yield from documents.namespaces


def _open(documents: TenantDocuments) -> TenantDocuments:
    """Lets everybody do everything."""
    everything = Rule(
        "open",
        Effect.ALLOW,
        tuple(Action),
        ("*", "user:*", "agent:*", "service:*"),
        ("*",),
        reach=Reach.PRIVATE,
    )
    return TenantDocuments(
        Tenant(documents.tenant.id),
        1,
        tuple(PrincipalRecord(name) for name in policies.PRINCIPALS),
        rules=(everything,),
        keys=tuple(
            replace(
                key, scopes=(), application=None, not_before=None, expires_at=None, revoked=False
            )
            for key in documents.keys
        ),
        namespaces=tuple(
            replace(spec, mode=NamespaceMode.WRITABLE) for spec in documents.namespaces
        ),
    )


def _other(id: str) -> str:
    """Returns an id of the same partition that nobody has."""
    return f"{id[:24]}ffffffff{id[32:]}"


TestIsolation = Isolation.TestCase
TestIsolation.settings = settings(max_examples=40, stateful_step_count=30)
