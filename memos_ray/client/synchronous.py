"""The synchronous client: the asynchronous one on a loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, overload

from memos_ray.client.admin import AsyncAdmin
from memos_ray.client.asynchronous import AsyncMemOS
from memos_ray.client.opening import open_transport
from memos_ray.config import Settings
from memos_ray.core.access.administration import AdminOperation
from memos_ray.core.access.context import Action
from memos_ray.core.access.model import NamespaceKind, NamespaceMode, Reach
from memos_ray.core.cube.metadata import Visibility
from memos_ray.core.vault.operations import UpdateMode
from memos_ray.errors import InvalidInputError
from memos_ray.gateway.admin_models import Change, Documents, Who
from memos_ray.gateway.bodies import IngestReport
from memos_ray.gateway.ingestion import Progress
from memos_ray.gateway.models import (
    Diff,
    Health,
    History,
    LogPage,
    Memory,
    MemoryPage,
    NewMemory,
    SearchQuery,
    SearchResult,
    WriteReport,
    WriteResult,
)

T = TypeVar("T")
Self = TypeVar("Self", bound="MemOS")

_PAGE = 200


class LoopThread:
    """An event loop in a daemon thread, which any thread may hand work to."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="memos-ray client", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Carries out a coroutine and returns its result; blocks.

        Raises:
            InvalidInputError: the loop has been closed.
        """
        if self._loop.is_closed():
            work.close()
            raise InvalidInputError("the client is closed")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Ends the loop and its thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            self._loop.close()


class Admin:
    """Changes and lists policy; see `AsyncAdmin`."""

    def __init__(self, admin: AsyncAdmin, loop: LoopThread) -> None:
        self._admin = admin
        self._loop = loop

    def apply(self, operation: AdminOperation) -> Change:
        """Carries out any operation of `memos_ray.core.access.administration`."""
        return self._loop.run(self._admin.apply(operation))

    def documents(self, namespace: str | None = None) -> Documents:
        """Lists the tenant's policy documents, or those of one namespace."""
        return self._loop.run(self._admin.documents(namespace))

    def create_principal(
        self, id: str, roles: Sequence[str] = (), *, disabled: bool = False
    ) -> Change:
        """Records a principal, or changes it."""
        return self._loop.run(self._admin.create_principal(id, roles, disabled=disabled))

    def issue_key(
        self,
        principal: str,
        *,
        scopes: Sequence[Action | str] = (),
        application: str | None = None,
        not_before: datetime | None = None,
        expires_at: datetime | None = None,
    ) -> Change:
        """Issues an API key; `secret` of the answer is shown this once."""
        return self._loop.run(
            self._admin.issue_key(
                principal,
                scopes=scopes,
                application=application,
                not_before=not_before,
                expires_at=expires_at,
            )
        )

    def rotate_key(self, id: str, overlap_s: float = 0.0) -> Change:
        """Issues a successor with the same limits; the old key ends after the overlap."""
        return self._loop.run(self._admin.rotate_key(id, overlap_s))

    def expire_key(self, id: str, at: datetime) -> Change:
        """Sets the moment from which a key is no longer accepted."""
        return self._loop.run(self._admin.expire_key(id, at))

    def revoke_key(self, id: str) -> Change:
        """Ends a key at once and for good."""
        return self._loop.run(self._admin.revoke_key(id))

    def grant(
        self,
        subject: str,
        actions: Sequence[Action | str],
        namespace: str,
        *,
        reach: Reach | str = Reach.SHARED,
        expires_at: datetime | None = None,
    ) -> Change:
        """Grants a subject actions in one namespace."""
        return self._loop.run(
            self._admin.grant(subject, actions, namespace, reach=reach, expires_at=expires_at)
        )

    def revoke_grant(self, id: str) -> Change:
        """Takes a grant back."""
        return self._loop.run(self._admin.revoke_grant(id))

    def create_namespace(
        self,
        name: str,
        kind: NamespaceKind | str = NamespaceKind.CONTEXTUAL_POOL,
        *,
        owner: str | None = None,
        mode: NamespaceMode | str | None = None,
        default_visibility: Visibility | str | None = None,
        members: Sequence[str] = (),
        quota_bytes: int | None = None,
    ) -> Change:
        """Makes a namespace, or changes it."""
        return self._loop.run(
            self._admin.create_namespace(
                name,
                kind,
                owner=owner,
                mode=mode,
                default_visibility=default_visibility,
                members=members,
                quota_bytes=quota_bytes,
            )
        )

    def create_tenant(self, tenant: str) -> Change:
        """Makes a tenant; `secret` of the answer is its first administrator's key."""
        return self._loop.run(self._admin.create_tenant(tenant))

    def set_tenant(self, tenant: str, *, disabled: bool) -> Change:
        """Disables a tenant, or enables it again."""
        return self._loop.run(self._admin.set_tenant(tenant, disabled=disabled))


class MemOS:
    """A client of the memory service, safe to use from many threads; see `AsyncMemOS`.

    Connects at once. Concurrent calls share few round trips to the shards.
    """

    def __init__(
        self,
        *,
        data: Path | str | None = None,
        address: str | None = None,
        url: str | None = None,
        api_key: str | None = None,
        settings: Settings | None = None,
        purpose: str | None = None,
        role: str | None = None,
        application: str | None = None,
    ) -> None:
        # Ray starts from the caller's thread, as its signal handlers want it.
        opened = open_transport(data, address, url, api_key, settings)
        self._async = AsyncMemOS(purpose=purpose, role=role, application=application)
        self._async.attach(opened, owns=True)
        self._loop = LoopThread()
        self._owns_loop = True

    @property
    def admin(self) -> Admin:
        """Principals, keys, grants, namespaces and the rest of policy."""
        return Admin(self._async.admin, self._loop)

    def close(self) -> None:
        """Disconnects; ends the cluster that `data=` started. Views of this client end with it."""
        if self._owns_loop and self._async.is_open:
            try:
                self._loop.run(self._async.close())
            finally:
                self._loop.close()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def with_key(self, api_key: str) -> MemOS:
        """Returns a client with another credential on the same connection."""
        return self._view(self._async.with_key(api_key))

    def as_principal(self, principal: str, roles: Sequence[str] = ()) -> MemOS:
        """Records a principal, issues a key for it and returns a client with that key."""
        return self._view(self._loop.run(self._async.as_principal(principal, roles)))

    def using(
        self,
        *,
        purpose: str | None = None,
        role: str | None = None,
        application: str | None = None,
    ) -> MemOS:
        """Returns a view of this client whose calls state another purpose, role or application."""
        return self._view(self._async.using(purpose=purpose, role=role, application=application))

    @overload
    def add(
        self,
        memory: str | NewMemory | Mapping[str, Any],
        namespace: str | None = None,
        **fields: Any,
    ) -> WriteResult: ...

    @overload
    def add(
        self,
        memory: Sequence[str | NewMemory | Mapping[str, Any]],
        namespace: str | None = None,
        **fields: Any,
    ) -> WriteReport: ...

    def add(self, memory: Any, namespace: str | None = None, **fields: Any) -> Any:
        """Stores one memory, or several; see `AsyncMemOS.add`."""
        return self._loop.run(self._async.add(memory, namespace, **fields))

    def get(self, id: str, *, namespace: str | None = None, version: int | None = None) -> Memory:
        """Returns a memory, at its newest version or at an older one."""
        return self._loop.run(self._async.get(id, namespace=namespace, version=version))

    def search(
        self,
        query: str | SearchQuery = "",
        *,
        namespace: str | Sequence[str] | None = None,
        **fields: Any,
    ) -> SearchResult:
        """Finds memories; see `AsyncMemOS.search`."""
        return self._loop.run(self._async.search(query, namespace=namespace, **fields))

    def update(
        self,
        id: str,
        text: str | None = None,
        *,
        mode: UpdateMode | str = UpdateMode.MERGE,
        namespace: str | None = None,
        **fields: Any,
    ) -> WriteResult:
        """Makes a new version of a memory; see `AsyncMemOS.update`."""
        return self._loop.run(
            self._async.update(id, text, mode=mode, namespace=namespace, **fields)
        )

    def delete(self, id: str, **options: Any) -> WriteResult:
        """Deletes a memory; takes the options of `AsyncMemOS.delete`."""
        return self._loop.run(self._async.delete(id, **options))

    def restore(self, id: str, **options: Any) -> WriteResult:
        """Undoes a soft deletion; takes the options of `AsyncMemOS.restore`."""
        return self._loop.run(self._async.restore(id, **options))

    def rollback(self, id: str, to: int, **options: Any) -> WriteResult:
        """Brings an older version's content back; takes the options of `AsyncMemOS.rollback`."""
        return self._loop.run(self._async.rollback(id, to, **options))

    def share(
        self,
        id: str,
        *,
        readers: Sequence[str] = (),
        writers: Sequence[str] = (),
        sharers: Sequence[str] = (),
        remove: Sequence[str] = (),
        visibility: Visibility | str | None = None,
        **options: Any,
    ) -> WriteResult:
        """Changes who may reach a memory; see `AsyncMemOS.share`."""
        return self._loop.run(
            self._async.share(
                id,
                readers=readers,
                writers=writers,
                sharers=sharers,
                remove=remove,
                visibility=visibility,
                **options,
            )
        )

    def freeze(
        self, id: str, *, namespace: str | None = None, reason: str | None = None
    ) -> WriteResult:
        """Forbids every change of a memory."""
        return self._loop.run(self._async.freeze(id, namespace=namespace, reason=reason))

    def unfreeze(
        self, id: str, *, namespace: str | None = None, reason: str | None = None
    ) -> WriteResult:
        """Allows changes of a frozen memory again."""
        return self._loop.run(self._async.unfreeze(id, namespace=namespace, reason=reason))

    def history(
        self,
        id: str,
        *,
        namespace: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> History:
        """Lists the versions of a memory, newest first."""
        return self._loop.run(
            self._async.history(id, namespace=namespace, cursor=cursor, limit=limit)
        )

    def diff(self, id: str, before: int, after: int, *, namespace: str | None = None) -> Diff:
        """Compares two versions of a memory."""
        return self._loop.run(self._async.diff(id, before, after, namespace=namespace))

    def log(self, namespace: str | None = None, **filters: Any) -> LogPage:
        """Reads the audit log of a namespace; takes the filters of `AsyncMemOS.log`."""
        return self._loop.run(self._async.log(namespace, **filters))

    def ingest(
        self,
        content: Path | str | bytes | Iterable[bytes] | Sequence[Mapping[str, Any]],
        /,
        *,
        namespace: str | None = None,
        progress: Progress | None = None,
        **options: Any,
    ) -> IngestReport:
        """Reads an input and stores what is in it, item by item; see `AsyncMemOS.ingest`."""
        return self._loop.run(
            self._async.ingest(content, namespace=namespace, progress=progress, **options)
        )

    def whoami(self) -> Who:
        """Says who the credential stands for."""
        return self._loop.run(self._async.whoami())

    def health(self) -> Health:
        """Says how the service is."""
        return self._loop.run(self._async.health())

    def iterate(self, namespace: str | None = None, **options: Any) -> Iterator[Memory]:
        """Yields all memories of a namespace, newest first; takes the options of `list`."""
        cursor: str | None = None
        limit = options.pop("limit", _PAGE)
        while True:
            page = self.list(namespace, cursor=cursor, limit=limit, **options)
            yield from page.memories
            cursor = page.cursor
            if cursor is None:
                return

    def list(self, namespace: str | None = None, **options: Any) -> MemoryPage:
        """Lists one page of a namespace; takes the options of `AsyncMemOS.list`."""
        return self._loop.run(self._async.list(namespace, **options))

    def _view(self, client: AsyncMemOS) -> MemOS:
        view = object.__new__(MemOS)
        view._async = client
        view._loop = self._loop
        view._owns_loop = False
        return view
