"""One transaction of a partition, from start to end, in a worker thread."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from memos_ray.actors.vault.salvaging import whole_or_remnants
from memos_ray.core.access.names import base_of
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.lifecycle.branches import fork
from memos_ray.core.lifecycle.past import there_at
from memos_ray.core.vault.entries import changes
from memos_ray.core.vault.guarding import GuardPort
from memos_ray.core.vault.log import ERASE, Commit, CubeKey, Outcome, Reply
from memos_ray.core.vault.moving import MovePlanner, moves
from memos_ray.core.vault.needing import marks_of, needs, stored_before
from memos_ray.core.vault.operations import Written
from memos_ray.core.vault.planning import Planner, Submission
from memos_ray.core.vault.quotas import Sizes
from memos_ray.core.vault.remnants import Remnant, possible_unread
from memos_ray.core.vault.resting import read
from memos_ray.errors import MemosError, QuotaExceededError, StoreCorruptError
from memos_ray.ports import ClockPort, RecordStorePort

_log = logging.getLogger(__name__)

Outcomes = list[Written | MemosError]


@dataclass(frozen=True, slots=True)
class Transactions:
    """Reads what writes refer to, plans them and commits the plan.

    What was read is still true at the commit, because nobody else writes the partition: the store
    refuses the commit when somebody does.
    """

    partition: int
    epoch: int
    store: RecordStorePort
    guard: GuardPort
    clock: ClockPort
    _sizes: Sizes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_sizes", Sizes(self._measure))

    def run(
        self,
        submissions: Sequence[Submission],
        last_lsn: int,
        trust_minted: bool,
        whole: bool = False,
    ) -> tuple[Commit, Outcomes]:
        """Commits writes; returns the commit, empty when none had an effect, and their outcomes.

        Args:
            whole: whether none is to have an effect when one cannot have it.

        Raises:
            AlreadyExistsError: `last_lsn` is not the newest, or a minted id is taken.
            MemosError: the store failed; see `RecordStorePort.commit`.
        """
        planner, outcomes = self._planned(submissions, last_lsn, trust_minted)
        failed = whole and any(isinstance(outcome, MemosError) for outcome in outcomes)
        commit = planner.denials() if failed else planner.commit()
        if commit.events:
            try:
                self.store.commit(commit)
            except BaseException:
                self._sizes.forget()
                raise
            lsn = commit.events[-1].lsn
            if failed:
                self._sizes.stand(lsn)
            else:
                self._sizes.done(planner.quotas, lsn)
        return commit, outcomes

    def _measure(self, tenant: str, namespace: str) -> int:
        return self.store.size(self.partition, tenant, namespace).text_bytes

    def _planned(
        self, submissions: Sequence[Submission], last_lsn: int, trust_minted: bool
    ) -> tuple[MovePlanner | Planner, Outcomes]:
        # What is damaged is met by the other planner as well, which knows what can be done.
        with suppress(StoreCorruptError):
            mover = self._mover(submissions, last_lsn)
            if mover is not None:
                return mover, [mover.add(one) for one in submissions]
        planner = self._planner(submissions, last_lsn, trust_minted)
        return planner, [planner.add(one) for one in submissions]

    def _mover(self, submissions: Sequence[Submission], last_lsn: int) -> MovePlanner | None:
        """Returns a planner for writes that are nothing but moves of texts."""
        keys = moves(submissions)
        heads = read(self.store.resting(self.partition, tuple(keys))) if keys else None
        if heads is None:
            return None
        now, quotas = self.clock.now(), self._sizes.begin(self.guard, last_lsn)
        return MovePlanner(self.partition, self.epoch, last_lsn, now, self.guard, heads, quotas)

    def _planner(
        self, submissions: Sequence[Submission], last_lsn: int, trust_minted: bool
    ) -> Planner:
        store, partition = self.store, self.partition
        wanted = needs(submissions, trust_minted=trust_minted)
        keys = tuple(wanted.heads)
        left: dict[CubeKey, Remnant] = {}
        if all(possible_unread(one.write.operation) for one in submissions):
            heads, left = whole_or_remnants(store, partition, keys)
        else:
            heads = store.heads(partition, keys) if keys else {}
        forks = self._forks(submissions, heads)
        heads |= forks
        replies = self._replies(wanted.replies)
        before = stored_before(submissions, replies)
        if before:
            heads = store.heads(partition, tuple(before)) | heads
            replies |= self._replies(marks_of(before, heads))
        return Planner(
            partition=partition,
            epoch=self.epoch,
            last_lsn=last_lsn,
            now=self.clock.now(),
            guard=self.guard,
            heads=heads,
            replies=replies,
            targets={
                (key, number): cube
                for key, number in wanted.targets
                if (cube := store.version(partition, key, number)) is not None
            },
            quotas=self._sizes.begin(self.guard, last_lsn, forks),
            remnants=left,
        )

    def _replies(
        self, wanted: Mapping[tuple[str, str], Sequence[str]]
    ) -> dict[tuple[str, str, str], Reply]:
        return {
            (tenant, scope, key): reply
            for (tenant, scope), keys in wanted.items()
            for key, reply in self.store.replies(self.partition, tenant, scope, keys).items()
        }

    def _forks(
        self, submissions: Sequence[Submission], heads: Mapping[CubeKey, MemCube]
    ) -> dict[CubeKey, MemCube]:
        """Returns what writes in branches change, where these have no version of their own yet.

        What has been erased is gone from all branches; that it is not, is known here, where nobody
        can erase it in between.
        """
        found: dict[CubeKey, MemCube] = {}
        for one in submissions:
            at, space = one.write.branched_at, one.write.namespace
            key = CubeKey(one.context.principal.tenant, one.write.operation.cube_id)
            if at is None or key in heads:
                continue
            base = CubeKey(key.tenant, base_of(key.id))
            chain = self.store.histories(self.partition, [base]).get(base, [])
            then = there_at(chain, at)
            if then is None or then.namespace != base_of(space):
                continue
            # The history shows no content that is archived; the version itself does.
            whole = self.store.version(self.partition, base, then.version.number)
            if whole is not None:
                found[key] = fork(whole, chain[-1], key.id, space)
        return found

    def look(self, seen_lsn: int | None) -> tuple[int, Commit | None]:
        """Returns where the log stands, and in one commit what was written beyond `seen_lsn`.

        The commit holds the newest version of each memory concerned, or what is left of it where it
        cannot be read; nothing when nothing was missed, or when nothing was ever seen.
        """
        last = self.store.last_lsn(self.partition)
        if seen_lsn is None or last <= seen_lsn:
            return last, None
        events = self.store.events(self.partition, seen_lsn, last - seen_lsn)
        done = [
            (CubeKey(event.tenant, event.cube_id), event.operation)
            for event in events
            if event.cube_id is not None and event.outcome is Outcome.DONE and changes(event)
        ]
        keys = tuple(dict.fromkeys(key for key, _ in done))
        heads, _ = whole_or_remnants(self.store, self.partition, keys)
        erased = tuple(dict.fromkeys(key for key, operation in done if operation == ERASE))
        cubes = tuple(heads.values())
        return last, Commit(self.partition, self.epoch, cubes, erased, tuple(events))


def told_refusals(partition: int, outcomes: Outcomes) -> int:
    """Logs which namespaces have no room for what was to be written; returns how often."""
    refused = [one for one in outcomes if isinstance(one, QuotaExceededError)]
    full = {(one.details["namespace"], one.details["quota_bytes"]) for one in refused}
    for namespace, quota in sorted(full, key=str):
        _log.warning("quota: partition %d, %s, of %s bytes: no room", partition, namespace, quota)
    return len(refused)


def settled(outcomes: Outcomes) -> list[Written]:
    """Returns the outcomes of writes that went all or none.

    Raises:
        MemosError: the first error among them; none had an effect.
    """
    done = []
    for outcome in outcomes:
        if isinstance(outcome, MemosError):
            raise outcome
        done.append(outcome)
    return done
