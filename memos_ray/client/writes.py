"""The verbs that change a memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from memos_ray.client.arguments import check, valid
from memos_ray.client.connection import Connection
from memos_ray.core.cube.metadata import Visibility
from memos_ray.core.vault.operations import UpdateMode
from memos_ray.gateway.memories.models import (
    MemoryChange,
    Sharing,
    WriteReport,
    WriteResult,
)
from memos_ray.gateway.paging import decode_token
from memos_ray.gateway.problems import error_of_problem


class AsyncWrites(Connection):
    """Changing memories; a part of `AsyncMemOS`."""

    async def update(
        self,
        id: str,
        text: str | None = None,
        *,
        mode: UpdateMode | str = UpdateMode.MERGE,
        namespace: str | None = None,
        **fields: Any,
    ) -> WriteResult:
        """Makes a new version of a memory.

        Args:
            mode: `append`, `merge` or `overwrite`; see `UpdateMode`.
            fields: other fields of `MemoryChange`, such as `tags` and `expected_version`. What is
                not given stays; `event_time`, `valid_from`, `valid_to`, `expires_at` and
                `half_life_s` are cleared by `None`.
        """
        check(id=id, namespace=namespace)
        change = valid(MemoryChange, text=text, mode=mode, **fields)
        return self._single(
            await self._transport.memories.update(self._caller(), id, change, namespace)
        )

    async def delete(
        self,
        id: str,
        *,
        hard: bool = False,
        namespace: str | None = None,
        expected_version: int | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> WriteResult:
        """Deletes a memory: soft, so that `restore` undoes it, or hard, which erases it."""
        check(
            id=id,
            namespace=namespace,
            expected_version=expected_version,
            reason=reason,
            idempotency_key=idempotency_key,
        )
        return self._single(
            await self._transport.memories.delete(
                self._caller(),
                id,
                namespace,
                hard=hard,
                expected_version=expected_version,
                reason=reason,
                idempotency_key=idempotency_key,
            )
        )

    async def restore(
        self,
        id: str,
        *,
        namespace: str | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> WriteResult:
        """Undoes a soft deletion."""
        check(id=id, namespace=namespace, reason=reason, idempotency_key=idempotency_key)
        return self._single(
            await self._transport.memories.restore(
                self._caller(), id, namespace, reason=reason, idempotency_key=idempotency_key
            )
        )

    async def rollback(
        self,
        id: str,
        to: int,
        *,
        namespace: str | None = None,
        expected_version: int | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> WriteResult:
        """Makes a new version with the content of an older one."""
        check(
            id=id,
            to=to,
            namespace=namespace,
            expected_version=expected_version,
            reason=reason,
            idempotency_key=idempotency_key,
        )
        return self._single(
            await self._transport.memories.rollback(
                self._caller(),
                id,
                to,
                namespace,
                expected_version=expected_version,
                reason=reason,
                idempotency_key=idempotency_key,
            )
        )

    async def share(
        self,
        id: str,
        *,
        readers: Sequence[str] = (),
        writers: Sequence[str] = (),
        sharers: Sequence[str] = (),
        remove: Sequence[str] = (),
        visibility: Visibility | str | None = None,
        namespace: str | None = None,
        expected_version: int | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> WriteResult:
        """Changes who may reach a memory: names added to its scopes, and names removed."""
        check(id=id, namespace=namespace)
        sharing = valid(
            Sharing,
            visibility=visibility,
            readers=readers,
            writers=writers,
            sharers=sharers,
            remove=remove,
            expected_version=expected_version,
            reason=reason,
            idempotency_key=idempotency_key,
        )
        return self._single(
            await self._transport.memories.share(self._caller(), id, sharing, namespace)
        )

    async def freeze(
        self, id: str, *, namespace: str | None = None, reason: str | None = None
    ) -> WriteResult:
        """Forbids every change of a memory."""
        check(id=id, namespace=namespace, reason=reason)
        return self._single(
            await self._transport.memories.freeze(self._caller(), id, namespace, reason=reason)
        )

    async def unfreeze(
        self, id: str, *, namespace: str | None = None, reason: str | None = None
    ) -> WriteResult:
        """Allows changes of a frozen memory again."""
        check(id=id, namespace=namespace, reason=reason)
        return self._single(
            await self._transport.memories.freeze(
                self._caller(), id, namespace, frozen=False, reason=reason
            )
        )

    def _single(self, report: WriteReport) -> WriteResult:
        result = report.results[0]
        if result.error is not None:
            raise error_of_problem(result.error)
        self._note(decode_token(report.token))
        return result

    def _note(self, newest: Mapping[int, int]) -> None:
        for partition, lsn in newest.items():
            self._newest[partition] = max(self._newest.get(partition, 0), lsn)
