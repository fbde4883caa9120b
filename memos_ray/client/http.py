"""The service behind a URL."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx
import orjson
from pydantic import BaseModel, ValidationError

from memos_ray.client.admin_http import request_of
from memos_ray.client.chat_http import events_of
from memos_ray.client.transport import Item
from memos_ray.core.access.administration import AdminOperation
from memos_ray.core.loopback import is_loopback
from memos_ray.errors import (
    DeadlineExceededError,
    InternalError,
    InvalidInputError,
    MemosError,
    UnauthenticatedError,
    UnavailableError,
)
from memos_ray.gateway.admin_models import Change, Documents, Who
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.chat_models import ChatEvent, ChatQuery, Conversion
from memos_ray.gateway.models import (
    Diff,
    Health,
    History,
    LogPage,
    Memory,
    MemoryChange,
    MemoryPage,
    Problem,
    SearchQuery,
    SearchResult,
    Sharing,
    WriteReport,
)
from memos_ray.gateway.openai_models import ModelKind, ModelList
from memos_ray.gateway.problems import error_of_problem, error_of_status
from memos_ray.ports import EventQuery

M = TypeVar("M", bound=BaseModel)

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0
_CONNECTIONS = 100


class HttpTransport:
    """Speaks REST. Implements `Transport`.

    A request is repeated, with growing and jittered pauses, when the service is away or busy, but
    only when repeating it is safe: it reads, it sets a state, or it carries an idempotency key.
    Every write of a memory gets such a key.

    Args:
        attempts: most tries of one request.

    Raises:
        InvalidInputError: the URL is none of HTTP.
    """

    def __init__(self, url: str, timeout_s: float = 35.0, attempts: int = 5) -> None:
        _check_url(url)
        self._attempts = attempts
        self._policies: dict[str, int] = {}
        self._client = httpx.AsyncClient(
            base_url=url.rstrip("/"),
            # A proxy of the environment does not reach this machine's own loopback.
            trust_env=not is_loopback(url),
            timeout=httpx.Timeout(timeout_s, connect=5.0),
            limits=httpx.Limits(max_connections=_CONNECTIONS),
        )

    async def add(
        self, caller: Caller, items: Sequence[Item], namespace: str | None
    ) -> WriteReport:
        """Stores memories, each with its own outcome."""
        if not items:
            return WriteReport(results=[], token="")
        run = uuid4().hex
        bodies = [_keyed(item, f"sdk:{run}/{place}") for place, item in enumerate(items)]
        return await self._call(
            WriteReport, "POST", "/v1/memories", caller, {"memories": bodies}, namespace=namespace
        )

    async def update(
        self, caller: Caller, id: str, change: MemoryChange, namespace: str | None
    ) -> WriteReport:
        """Makes a new version."""
        body = _keyed(change, _new_key())
        return await self._call(
            WriteReport, "PATCH", _memory(id), caller, body, namespace=namespace
        )

    async def share(
        self, caller: Caller, id: str, sharing: Sharing, namespace: str | None
    ) -> WriteReport:
        """Changes who may reach a memory."""
        body = _keyed(sharing, _new_key())
        return await self._call(
            WriteReport, "POST", f"{_memory(id)}/share", caller, body, namespace=namespace
        )

    async def delete(
        self,
        caller: Caller,
        id: str,
        namespace: str | None,
        hard: bool,
        expected_version: int | None,
        reason: str | None,
        key: str | None,
    ) -> WriteReport:
        """Deletes a memory."""
        return await self._call(
            WriteReport,
            "DELETE",
            _memory(id),
            caller,
            key=key or _new_key(),
            namespace=namespace,
            hard=hard,
            expected_version=expected_version,
            reason=reason,
        )

    async def restore(
        self, caller: Caller, id: str, namespace: str | None, reason: str | None, key: str | None
    ) -> WriteReport:
        """Undoes a soft deletion."""
        return await self._post(caller, id, "restore", {"reason": reason}, namespace, key)

    async def rollback(
        self,
        caller: Caller,
        id: str,
        to: int,
        namespace: str | None,
        expected_version: int | None,
        reason: str | None,
        key: str | None,
    ) -> WriteReport:
        """Brings the content of an older version back."""
        body = {"to": to, "expected_version": expected_version, "reason": reason}
        return await self._post(caller, id, "rollback", body, namespace, key)

    async def freeze(
        self,
        caller: Caller,
        id: str,
        namespace: str | None,
        frozen: bool,
        reason: str | None,
        key: str | None,
    ) -> WriteReport:
        """Forbids changes, or allows them again."""
        verb = "freeze" if frozen else "unfreeze"
        return await self._post(caller, id, verb, {"reason": reason}, namespace, key)

    async def get(
        self, caller: Caller, id: str, namespace: str | None, version: int | None
    ) -> Memory:
        """Returns a memory."""
        return await self._call(
            Memory, "GET", _memory(id), caller, namespace=namespace, version=version
        )

    async def list(
        self,
        caller: Caller,
        namespace: str | None,
        filter: str | None,
        tags: Sequence[str],
        include_deleted: bool,
        cursor: str | None,
        limit: int,
    ) -> MemoryPage:
        """Returns one page of a namespace."""
        return await self._call(
            MemoryPage,
            "GET",
            "/v1/memories",
            caller,
            namespace=namespace,
            filter=filter,
            tag=[*tags],
            include_deleted=include_deleted,
            cursor=cursor,
            limit=limit,
        )

    async def search(self, caller: Caller, query: SearchQuery) -> SearchResult:
        """Finds memories."""
        body = query.model_dump(mode="json", exclude_defaults=True)
        return await self._call(SearchResult, "POST", "/v1/search", caller, body)

    async def chat(self, caller: Caller, query: ChatQuery) -> AsyncGenerator[ChatEvent, None]:
        """Answers a conversation, piece by piece."""
        headers = self._headers(caller, None)
        try:
            async with aclosing(events_of(self._client, headers, query)) as events:
                async for event in events:
                    yield event
        except httpx.HTTPStatusError as error:
            raise error_of(error.response) from None

    async def convert(self, caller: Caller, conversion: Conversion) -> WriteReport:
        """Makes memories the beginning of a namespace's prompts."""
        body = conversion.model_dump(mode="json", exclude_unset=True)
        # Twice would be two blocks of the same.
        return await self._call(WriteReport, "POST", "/v1/convert", caller, body, repeatable=False)

    async def models(self, caller: Caller) -> list[str]:  # type: ignore[valid-type]
        """Lists the models that can be asked."""
        found = await self._call(ModelList, "GET", "/v1/models", caller)
        return [model.id for model in found.data if model.kind is ModelKind.CHAT]

    async def history(
        self, caller: Caller, id: str, namespace: str | None, cursor: str | None, limit: int
    ) -> History:
        """Returns versions."""
        return await self._call(
            History,
            "GET",
            f"{_memory(id)}/history",
            caller,
            namespace=namespace,
            cursor=cursor,
            limit=limit,
        )

    async def diff(
        self, caller: Caller, id: str, before: int, after: int, namespace: str | None
    ) -> Diff:
        """Compares two versions."""
        return await self._call(
            Diff,
            "GET",
            f"{_memory(id)}/diff",
            caller,
            before=before,
            after=after,
            namespace=namespace,
        )

    async def log(
        self,
        caller: Caller,
        namespace: str | None,
        query: EventQuery,
        cursor: str | None,
        limit: int,
    ) -> LogPage:
        """Reads the audit log."""
        return await self._call(
            LogPage,
            "GET",
            "/v1/log",
            caller,
            namespace=namespace,
            principal=query.principal,
            operation=query.operation,
            memory_id=query.cube_id,
            request_id=query.request_id,
            since=query.since.isoformat() if query.since else None,
            until=query.until.isoformat() if query.until else None,
            cursor=cursor,
            limit=limit,
        )

    async def change(self, caller: Caller, operation: AdminOperation) -> Change:
        """Changes policy."""
        request = request_of(operation)
        change = await self._call(
            Change,
            request.method,
            f"/v1/admin/{request.path}",
            caller,
            request.body,
            repeatable=request.safe,
        )
        self._policies[change.tenant] = max(change.version, self._policies.get(change.tenant, 0))
        return change

    async def documents(self, caller: Caller, namespace: str | None) -> Documents:
        """Lists policy documents."""
        return await self._call(
            Documents, "GET", "/v1/admin/documents", caller, namespace=namespace
        )

    async def whoami(self, caller: Caller) -> Who:
        """Says who the caller is."""
        return await self._call(Who, "GET", "/v1/whoami", caller)

    async def health(self) -> Health:
        """Says how the service is."""
        try:
            answer = await self._client.get("/readyz")
            return Health.model_validate_json(answer.content)
        except (httpx.HTTPError, ValidationError):
            raise UnavailableError("nobody answers there", url=str(self._client.base_url)) from None

    def keep(self, content: bytes) -> str | None:
        """Keeps nothing: attachments travel by reference over REST."""
        return None

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    async def _post(
        self,
        caller: Caller,
        id: str,
        verb: str,
        body: dict[str, Any],
        namespace: str | None,
        key: str | None,
    ) -> WriteReport:
        path = f"{_memory(id)}/{verb}"
        return await self._call(
            WriteReport, "POST", path, caller, body, key=key or _new_key(), namespace=namespace
        )

    async def _call(
        self,
        kind: type[M],
        method: str,
        path: str,
        caller: Caller,
        body: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        repeatable: bool = True,
        **query: Any,
    ) -> M:
        headers = self._headers(caller, key)
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = _encode(body)
        request = self._client.build_request(
            method,
            path,
            params={name: value for name, value in query.items() if value is not None},
            headers=headers,
            content=content,
        )
        pause_s = _FIRST_PAUSE_S
        for attempt in range(1, self._attempts + 1):
            try:
                return await self._once(kind, request)
            except UnavailableError as error:
                unsent = error.details.get("unsent") is True
                if attempt == self._attempts or not (repeatable or unsent):
                    raise
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        raise InternalError("no attempt was made")

    def _headers(self, caller: Caller, key: str | None) -> dict[str, str]:
        headers = _headers(caller, key)
        known = self._policies.get(_tenant_of(caller.credential))
        if known is not None:
            # Another gateway than the one that made the change may answer.
            headers["X-Memos-Policy"] = str(known)
        return headers

    async def _once(self, kind: type[M], request: httpx.Request) -> M:
        try:
            answer = await self._client.send(request)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise UnavailableError(
                "nobody answers there", url=str(self._client.base_url), unsent=True
            ) from None
        except httpx.TimeoutException:
            raise DeadlineExceededError("the service did not answer in time") from None
        except httpx.TransportError:
            raise UnavailableError("the connection broke") from None
        if answer.is_success:
            try:
                return kind.model_validate_json(answer.content)
            except ValidationError:
                raise InternalError("this is no answer of memos-ray", kind=kind.__name__) from None
        raise error_of(answer)


def _check_url(url: str) -> None:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL()
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise InvalidInputError("the URL must look like http://host:8700", field="url")


def error_of(answer: httpx.Response) -> MemosError:
    """Turns an answer that is no success into the error that it stands for."""
    try:
        return error_of_problem(Problem.model_validate_json(answer.content))
    except ValidationError:
        pass
    status = answer.status_code
    if status == 404 or (status >= 500 and status != 504):
        # No word of the service's own: a proxy whose replica died, or that has none yet.
        return UnavailableError("the service is away", status=status)
    return error_of_status(status, "the request was refused")


def _tenant_of(credential: str) -> str:
    """Returns the tenant that an API key names; nothing for other credentials."""
    kind, _, rest = credential.partition("_")
    return rest.partition("_")[0] if kind == "mk" else ""


def _memory(id: str) -> str:
    return f"/v1/memories/{quote(id, safe=':')}"


def _new_key() -> str:
    return f"sdk:{uuid4().hex}"


def _keyed(item: BaseModel | Mapping[str, Any], key: str) -> dict[str, Any]:
    if isinstance(item, BaseModel):
        body = item.model_dump(mode="json", exclude_unset=True)
    else:
        body = dict(item)
    if body.get("idempotency_key") is None:
        body["idempotency_key"] = key
    return body


def _encode(body: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(body, default=_plain)
    except TypeError:
        # Not JSON at all, such as a lone surrogate: the service says what is wrong with it.
        import json

        return json.dumps(body, default=str).encode()


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_unset=True)
    return str(value)


def _headers(caller: Caller, key: str | None) -> dict[str, str]:
    given = {
        "Authorization": f"Bearer {caller.credential}" if caller.credential else None,
        "X-Memos-Purpose": caller.purpose,
        "X-Memos-Role": caller.role,
        "X-Memos-Application": caller.application,
        "X-Request-Id": caller.request_id or None,
        "Idempotency-Key": key,
    }
    headers = {name: value for name, value in given.items() if value is not None}
    if not (caller.credential.isascii() and caller.credential.isprintable()):
        raise UnauthenticatedError("this is neither an API key nor a token")
    return headers
