"""Policies in the control store: loaded, kept while unchanged, and replaced by compare-and-set.

Each document of a policy is one control document. Next to them lies a head that carries the
policy's version and is replaced by every change, so that two authorities that change a tenant at
once collide on it, whatever documents they touch.

    tenant ""    directory/head     the `Directory` of all tenants
    tenant x     policy/head        {"version": n}
                 tenant/…, principal/…, role/…, rule/…, grant/…, key/…, namespace/…, issuer/…,
                 persona/…

Concurrency: every method may be called from any thread. What is held is only ever used after the
head's revision has been read, so that a late writer here can cost a reload, never a wrong answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import orjson

from memos_ray.core.access.documents import Directory, assemble, decode, encode
from memos_ray.core.access.founding import Ruling
from memos_ray.core.access.policy import TenantPolicy
from memos_ray.core.vault.log import ControlChange, ControlRecord, Event
from memos_ray.errors import StoreCorruptError
from memos_ray.ports import ControlStorePort

_CLUSTER = ""
_HEAD = "head"
_POLICY = "policy"
_DIRECTORY = "directory"

Content = TypeVar("Content", TenantPolicy, Directory)


@dataclass(frozen=True, slots=True)
class Stored(Generic[Content]):
    """A policy or the directory as stored.

    Attributes:
        head: revision of the head document; 0 when nothing is stored yet.
        revisions: of all other documents, by (kind, key).
    """

    content: Content
    head: int
    revisions: Mapping[tuple[str, str], int]


class PolicyStore:
    """The policies of all tenants, and the directory."""

    def __init__(self, store: ControlStorePort) -> None:
        self._store = store
        self._policies: dict[str, Stored[TenantPolicy]] = {}

    def policy(self, tenant: str) -> Stored[TenantPolicy] | None:
        """Returns a tenant's policy as it is in the store now; nothing for an unknown tenant.

        Costs one look-up while nothing changed.

        Raises:
            StoreCorruptError: when the stored documents cannot be read.
        """
        head = self._store.get(tenant, _POLICY, _HEAD) if tenant else None
        if head is None:
            return None
        held = self._policies.get(tenant)
        if held is None or held.head != head.revision:
            held = _load(self._store.load(tenant))
            self._policies[tenant] = held
        return held

    def directory(self) -> Stored[Directory]:
        """Returns the directory as it is in the store now; empty before the first tenant."""
        record = self._store.get(_CLUSTER, _DIRECTORY, _HEAD)
        if record is None:
            return Stored(Directory(0), 0, {})
        return Stored(decode(Directory, record.body), record.revision, {})

    def commit(
        self,
        before: Stored[TenantPolicy] | None,
        ruling: Ruling,
        listing: tuple[Stored[Directory], Directory] | None,
        event: Event,
    ) -> None:
        """Stores a ruling with its audit event, in one transaction.

        Args:
            before: the policy that the ruling was made on; nothing for a new tenant.
            listing: the directory before and after, when it changes too.

        Raises:
            VersionConflictError: another authority was faster; nothing was written.
        """
        tenant = ruling.policy.tenant
        revisions = {} if before is None else before.revisions
        body = orjson.dumps({"version": ruling.policy.version})
        changes = [
            ControlChange(tenant, _POLICY, _HEAD, body, 0 if before is None else before.head)
        ]
        for each in ruling.changes:
            body_or_none = None if each.document is None else encode(each.document)
            expected = revisions.get((each.kind, each.key), 0)
            changes.append(ControlChange(tenant, each.kind, each.key, body_or_none, expected))
        if listing is not None:
            old, new = listing
            changes.append(ControlChange(_CLUSTER, _DIRECTORY, _HEAD, encode(new), old.head))
        self._store.commit(changes, [event])
        self._keep(tenant, before, ruling)

    def record(self, event: Event) -> None:
        """Adds an audit event that changes nothing."""
        self._store.commit((), [event])

    def _keep(self, tenant: str, before: Stored[TenantPolicy] | None, ruling: Ruling) -> None:
        """Holds what was just stored, unless somebody has changed it again since."""
        revisions = dict(before.revisions) if before is not None else {}
        for each in ruling.changes:
            record = self._store.get(tenant, each.kind, each.key)
            revisions.pop((each.kind, each.key), None)
            if record is not None:
                revisions[each.kind, each.key] = record.revision
        # Read last: while the head says our version, all that was read before it is ours as well.
        head = self._store.get(tenant, _POLICY, _HEAD)
        if head is not None and _version(head) == ruling.policy.version:
            self._policies[tenant] = Stored(ruling.policy, head.revision, revisions)


def _load(records: Sequence[ControlRecord]) -> Stored[TenantPolicy]:
    head = next((record for record in records if record.kind == _POLICY), None)
    documents = None
    if head is not None:
        bodies = ((record.kind, record.body) for record in records)
        documents = assemble(_version(head), bodies)
    if head is None or documents is None:
        raise StoreCorruptError("a tenant's policy is incomplete")
    revisions = {
        (record.kind, record.key): record.revision for record in records if record is not head
    }
    return Stored(TenantPolicy(documents), head.revision, revisions)


def _version(head: ControlRecord) -> int:
    try:
        return int(orjson.loads(head.body)["version"])
    except (ValueError, TypeError, KeyError):
        raise StoreCorruptError("a policy's head cannot be read", tenant=head.tenant) from None
