"""A vault shard against the model: writes, reads, searches, the past; restarts and lost commits."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from memos_ray.actors.vault.shard import VaultShard
from memos_ray.config import VaultSettings
from memos_ray.core.access.context import CallContext
from memos_ray.core.access.model import NamespaceMode
from memos_ray.core.cube.cube import State
from memos_ray.core.cube.facets import to_micros
from memos_ray.core.retrieval.requests import SearchRequest
from memos_ray.core.vault.log import CubeKey
from memos_ray.core.vault.operations import Create, Delete, Write, Written
from memos_ray.core.vault.planning import Submission
from memos_ray.core.vault.requests import ListRequest
from memos_ray.core.vault.ring import Ring
from memos_ray.errors import MemosError, NotFoundError, StoreError
from memos_ray.ports import EventQuery, LogRequest
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.faults import Fault, FaultPlan, FaultyRecordStore, Moment
from memos_ray.testing.guards import ADMINISTRATOR, READ_ONLY
from memos_ray.testing.record_store import MemoryRecordStore
from memos_ray.testing.shards import ShardBench
from memos_ray.testing.vault_model import CALLERS, NAMESPACE, Memory, Model, batches

PARTITION = 5
# Room for one namespace at a time, so that searches of two tenants keep evicting each other.
SETTINGS = VaultSettings(partitions=6, resident_bytes=200_000)
ALL = 10**9

T = TypeVar("T")
callers = st.sampled_from(CALLERS)


class Shard(RuleBasedStateMachine):
    """Everything goes to a shard and, one by one, to the model; what is read must agree."""

    @initialize()
    def start(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock()
        self.plan = FaultPlan()
        self.store = FaultyRecordStore(MemoryRecordStore(), self.plan)
        ring = Ring(1, ("shard-0",) * SETTINGS.partitions)
        self.bench = ShardBench(self.store, self.clock, lambda: ring, SETTINGS)
        pools = {NAMESPACE: NamespaceMode.WRITABLE, READ_ONLY: NamespaceMode.READ_ONLY}
        for tenant in sorted({caller.principal.tenant for caller in CALLERS}):
            self.run(self.bench.admit(tenant, ("user:ann", "user:bob"), pools))
        self.shard = self.run(self.started())
        self.retired: list[VaultShard] = []
        self.model = Model(PARTITION)
        self.sent: list[list[Submission]] = []
        self.minted = 0
        self.past: list[tuple[datetime, list[tuple[CubeKey, Memory, str]]]] = []

    async def started(self) -> VaultShard:
        return self.bench.shard("shard-0")

    def teardown(self) -> None:
        for shard in (self.shard, *self.retired):
            self.run(shard.close())
        self.loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @rule(batch=batches)
    def writes(self, batch: list[Submission]) -> None:
        self.write(self.mint(batch))

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def asks_again(self, data: st.DataObject) -> None:
        """The same writes once more: with a key they are answered, without one they are new."""
        batch = data.draw(st.sampled_from(self.sent))
        self.write([one for one in batch if _repeatable(one)])

    @rule(batch=batches)
    def hangs_up_and_asks_again(self, batch: list[Submission]) -> None:
        """Nobody waits for the answer, but the writes happen; asked again, they say so.

        A refusal has no answer to keep: it is given, and logged, as often as somebody asks.
        """
        trial = copy.deepcopy(self.model)
        keyed = [
            one
            for one in self.mint(batch)
            if one.write.idempotency_key is not None and isinstance(trial.write(one), Written)
        ]

        async def hang_up() -> None:
            call = asyncio.create_task(self.shard.write(PARTITION, keyed))
            await asyncio.sleep(0)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)

        self.run(hang_up())
        outcomes = self.run(self.shard.write(PARTITION, keyed))
        for submission, outcome in zip(keyed, outcomes, strict=True):
            self.compare(submission, outcome, anyhow=True)

    @rule(batch=batches, moment=st.sampled_from((Moment.BEFORE, Moment.AFTER)))
    def loses_a_commit_or_its_answer(self, batch: list[Submission], moment: Moment) -> None:
        """The store fails before or after the effect; with keys, asking again tells which."""
        batch = self.mint(batch)
        call = self.store.calls["commit"] + 1
        self.plan.faults = [Fault("commit", call, StoreError("the disk is away"), moment)]
        outcomes = self.run(self.shard.write(PARTITION, batch))
        self.plan.faults = []
        if self.store.calls["commit"] < call:
            # There was nothing to commit.
            for submission, outcome in zip(batch, outcomes, strict=True):
                self.compare(submission, outcome)
            return
        assert [type(outcome) for outcome in outcomes] == [StoreError] * len(batch)
        if moment is Moment.AFTER:
            for submission in batch:
                self.model.write(submission)
        # The next write settles what the caches know, whatever it is.
        nobody = Submission(CALLERS[0], Write(NAMESPACE, Delete("nobody")))
        self.write([one for one in batch if one.write.idempotency_key is not None] + [nobody])

    @rule(orderly=st.booleans())
    def restarts(self, orderly: bool) -> None:
        """A new incarnation knows only the store; the old one may still be there, cut off."""
        old, self.shard = self.shard, self.run(self.started())
        if orderly:
            self.run(old.close())
        else:
            self.retired.append(old)
        self.run(self.shard.get(PARTITION, CALLERS[0], []))

    @precondition(lambda self: self.retired)
    @rule(batch=batches)
    def the_old_incarnation_writes_on(self, batch: list[Submission]) -> None:
        """It is fenced off: nothing that it is given has an effect."""
        submissions = self.mint(batch)
        try:
            outcomes = self.run(self.retired[-1].write(PARTITION, submissions))
        except MemosError as error:
            outcomes = [error]
        assert not [one for one in outcomes if isinstance(one, Written) and not one.replayed]

    @rule(seconds=st.integers(1, 40))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule(caller=callers, limit=st.integers(1, 3), deleted=st.booleans())
    def lists(self, caller: CallContext, limit: int, deleted: bool) -> None:
        found: list[tuple[str, str]] = []
        after: tuple[int, str] | None = None
        while True:
            request = ListRequest(
                caller, NAMESPACE, after=after, limit=limit, include_deleted=deleted
            )
            page = self.run(self.shard.page(PARTITION, request))
            found += [(cube.id, cube.text) for cube in page]
            if len(page) < limit:
                break
            after = to_micros(page[-1].descriptive.created_at), page[-1].id
        assert sorted(found) == self.expected(caller, deleted)

    @rule(caller=callers)
    def reads_every_version(self, caller: CallContext) -> None:
        readable = self.model.readable(caller.principal)
        for key, memory in self.model.memories.items():
            if key.tenant != caller.principal.tenant:
                continue
            (head,) = self.run(self.shard.get(PARTITION, caller, [key.id]))
            assert (head is not None) == (key in readable)
            try:
                versions = self.run(self.shard.versions(PARTITION, caller, key.id, ALL, ALL))
            except NotFoundError:
                assert key not in readable
                continue
            assert head is not None and head.text == memory.chain[-1].text
            assert (head.state is State.DELETED, head.frozen) == (memory.deleted, memory.frozen)
            assert [info.number for info in versions] == list(range(len(memory.chain), 0, -1))
            for number, snapshot in enumerate(memory.chain, start=1):
                cube = self.run(self.shard.version(PARTITION, caller, key.id, number))
                assert (cube.text, cube.descriptive.tags) == (snapshot.text, snapshot.tags)

    @precondition(lambda self: self.past)
    @rule(data=st.data(), caller=callers)
    def searches_the_past(self, data: st.DataObject, caller: CallContext) -> None:
        """Content is as it was; who sees it is decided by what holds today."""
        at, then = data.draw(st.sampled_from(self.past))
        today = self.model.readable(caller.principal)
        expected = [(key.id, text) for key, memory, text in then if today.get(key) is memory]
        found = self.search(caller, "", at)
        assert sorted(found) == sorted(expected)

    @rule(caller=callers)
    def reads_the_log(self, caller: CallContext) -> None:
        request = LogRequest(caller, EventQuery(), False, 0, ALL)
        events = self.run(self.shard.log(PARTITION, request)).entries
        me = caller.principal
        assert {event.tenant for event in events} <= {me.tenant}
        if me.id != ADMINISTRATOR:
            assert {event.principal for event in events} <= {me.id}
        lsns = [event.lsn for event in events]
        assert lsns == sorted(set(lsns))

    @invariant()
    def the_past_is_kept(self) -> None:
        """Remembers what the model holds; nothing else happens in this second."""
        then = [
            (key, memory, memory.chain[-1].text)
            for key, memory in self.model.memories.items()
            if not memory.deleted
        ]
        self.past.append((self.clock.now(), then))
        self.clock.advance(1)

    @invariant()
    def searches_find_exactly_what_may_be_seen(self) -> None:
        for caller in CALLERS:
            assert sorted(self.search(caller, "red", None)) == self.expected(caller, False)

    @invariant()
    def the_log_has_no_gaps(self) -> None:
        events = self.store.events(PARTITION, 0, ALL)
        assert [event.lsn for event in events] == list(range(1, self.model.lsn + 1))

    def search(self, caller: CallContext, text: str, at: datetime | None) -> list[tuple[str, str]]:
        embedder = self.bench.embedder
        request = SearchRequest(
            caller,
            NAMESPACE,
            text,
            embedder.embed([text])[0] if text else None,
            embedder.space.digest if text else "",
            k=ALL,
            as_of=at,
        )
        reply = self.run(self.shard.search(PARTITION, request))
        return [(hit.cube.id, hit.cube.text) for hit in reply.hits]

    def expected(self, caller: CallContext, deleted: bool) -> list[tuple[str, str]]:
        return sorted(
            (key.id, memory.chain[-1].text)
            for key, memory in self.model.readable(caller.principal).items()
            if deleted or not memory.deleted
        )

    def mint(self, batch: Sequence[Submission]) -> list[Submission]:
        """Gives creations without an id a fresh one, as a gateway does for each call."""
        minted = []
        for one in batch:
            operation = one.write.operation
            if isinstance(operation, Create) and operation.id is None:
                self.minted += 1
                operation = replace(operation, minted_id=f"m-{self.minted}")
            minted.append(replace(one, write=replace(one.write, operation=operation)))
        self.sent.append(minted)
        return minted

    def write(self, batch: Sequence[Submission]) -> None:
        outcomes = self.run(self.shard.write(PARTITION, batch))
        for submission, outcome in zip(batch, outcomes, strict=True):
            self.compare(submission, outcome)

    def compare(
        self, submission: Submission, outcome: Written | MemosError, anyhow: bool = False
    ) -> None:
        """Compares an outcome with the model's; `anyhow`: it may be of an earlier call."""
        wanted = self.model.write(submission)
        if anyhow and isinstance(outcome, Written) and isinstance(wanted, Written):
            outcome = replace(outcome, replayed=wanted.replayed)
        assert (outcome if isinstance(outcome, Written) else type(outcome)) == wanted


def _repeatable(submission: Submission) -> bool:
    """A creation without id and key is another one each time, with an id of its own."""
    operation = submission.write.operation
    if not isinstance(operation, Create) or operation.id is not None:
        return True
    return submission.write.idempotency_key is not None


TestShard = Shard.TestCase
TestShard.settings = settings(max_examples=40, stateful_step_count=25)
