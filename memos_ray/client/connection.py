"""What a client is connected to, and as whom."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from memos_ray.client.arguments import check
from memos_ray.client.opening import Opened, open_transport
from memos_ray.client.transport import Transport
from memos_ray.client.verbs.admin import AsyncAdmin
from memos_ray.config import Settings
from memos_ray.errors import InvalidInputError
from memos_ray.gateway.admin.models import Who
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.memories.record_models import Health

Self = TypeVar("Self", bound="Connection")


class Connection:
    """A connection to one service with one credential; `AsyncMemOS` adds the memory API.

    Args:
        data, address, url: where to connect; at most one.
        api_key: the credential; the data folder's admin key when absent and readable.
        purpose, role, application: stated with every call.
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
        check(data=data, address=address, url=url, api_key=api_key or None)
        check(purpose=purpose, role=role, application=application)
        self._where = (data, address, url, api_key, settings)
        self._opened: Opened | None = None
        self._owns = True
        self._context = (purpose, role, application)
        self._newest: dict[int, int] = {}

    @property
    def admin(self) -> AsyncAdmin:
        """Principals, keys, grants, namespaces and the rest of policy."""
        return AsyncAdmin(self._transport, self._caller())

    @property
    def is_open(self) -> bool:
        """Whether the client is connected."""
        return self._opened is not None

    async def open(self: Self) -> Self:
        """Connects, unless that is done; see `client.opening.open_transport` for its errors."""
        if self._opened is None:
            self._opened = await asyncio.to_thread(open_transport, *self._where)
        return self

    def attach(self, opened: Opened, *, owns: bool) -> None:
        """Uses a connection that is there already."""
        self._opened, self._owns = opened, owns

    async def close(self) -> None:
        """Disconnects; ends the cluster that `data=` started. Views of this client end with it."""
        if self._opened is not None and self._owns:
            await self._opened.transport.close()
        self._opened = None

    async def __aenter__(self: Self) -> Self:
        return await self.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def with_key(self: Self, api_key: str) -> Self:
        """Returns a client with another credential on the same connection."""
        check(api_key=api_key)
        purpose, role, application = self._context
        other = type(self)(purpose=purpose, role=role, application=application)
        other.attach(Opened(self._transport, api_key), owns=False)
        return other

    async def as_principal(self: Self, principal: str, roles: Sequence[str] = ()) -> Self:
        """Records a principal, issues a key for it and returns a client with that key.

        Needs an administrator; for set-up and tests.
        """
        await self.admin.create_principal(principal, roles)
        issued = await self.admin.issue_key(principal)
        return self.with_key(issued.secret or "")

    def using(
        self: Self,
        *,
        purpose: str | None = None,
        role: str | None = None,
        application: str | None = None,
    ) -> Self:
        """Returns a view of this client whose calls state another purpose, role or application."""
        old = self._context
        view = type(self)(
            purpose=purpose or old[0], role=role or old[1], application=application or old[2]
        )
        view.attach(Opened(self._transport, self._credential), owns=False)
        view._newest = self._newest
        return view

    async def whoami(self) -> Who:
        """Says who the credential stands for."""
        return await self._transport.whoami(self._caller())

    async def health(self) -> Health:
        """Says how the service is."""
        return await self._transport.health()

    @property
    def _transport(self) -> Transport:
        if self._opened is None:
            raise InvalidInputError("the client is not open: use `async with`, or call `open`")
        return self._opened.transport

    @property
    def _credential(self) -> str:
        return self._opened.credential if self._opened is not None else ""

    def _caller(self) -> Caller:
        return Caller(self._credential, *self._context)
