"""One REST service: its connections, and what is repeated when it is away."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Mapping
from typing import Any, TypeVar
from uuid import uuid4

import httpx
import orjson
from pydantic import BaseModel, ValidationError

from memos_ray.core.loopback import is_loopback
from memos_ray.errors import (
    DeadlineExceededError,
    InternalError,
    InvalidInputError,
    MemosError,
    UnauthenticatedError,
    UnavailableError,
)
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.problem_model import Problem
from memos_ray.gateway.problems import error_of_problem, error_of_status

M = TypeVar("M", bound=BaseModel)

Form = Mapping[str, tuple[str | None, bytes, str]]
"""Parts of a form: file name, if it is a file, content and media type."""

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0
_CONNECTIONS = 100


class RestLink:
    """Sends requests, and turns answers into models or errors.

    A request is repeated, with growing and jittered pauses, when the service is away or busy, but
    only when repeating it is safe: it reads, it sets a state, or it carries an idempotency key.

    Args:
        attempts: most tries of one request.

    Raises:
        InvalidInputError: the URL is none of HTTP.
    """

    def __init__(self, url: str, timeout_s: float, attempts: int) -> None:
        _check_url(url)
        self._attempts = attempts
        self._policies: dict[str, int] = {}
        self.client = httpx.AsyncClient(
            base_url=url.rstrip("/"),
            # A proxy of the environment does not reach this machine's own loopback.
            trust_env=not is_loopback(url),
            timeout=httpx.Timeout(timeout_s, connect=5.0),
            limits=httpx.Limits(max_connections=_CONNECTIONS),
        )

    @property
    def url(self) -> str:
        """Where the service is."""
        return str(self.client.base_url)

    def note_policy(self, tenant: str, version: int) -> None:
        """Remembers a policy that later requests of this tenant must be judged by."""
        self._policies[tenant] = max(version, self._policies.get(tenant, 0))

    async def call(
        self,
        kind: type[M],
        method: str,
        path: str,
        caller: Caller,
        body: Mapping[str, Any] | None = None,
        *,
        form: Form | None = None,
        key: str | None = None,
        repeatable: bool = True,
        **query: Any,
    ) -> M:
        """Returns the answer to a request.

        Args:
            form: parts to send in place of a JSON body.
            key: the idempotency key.
            repeatable: whether sending it twice does no harm.
            query: parameters; absent ones are left out.

        Raises:
            UnavailableError: nobody answers, or the connection broke.
            DeadlineExceededError: there was no answer in time.
            MemosError: what the service raised.
        """
        headers = self.headers(caller, key)
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = _encode(body)
        request = self.client.build_request(
            method,
            path,
            params={name: value for name, value in query.items() if value is not None},
            headers=headers,
            content=content,
            files=form,
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

    async def download(
        self, path: str, caller: Caller, **query: Any
    ) -> tuple[int, AsyncGenerator[bytes, None]]:
        """Returns the length of a file and its pieces, which must be read to the end or closed.

        Raises:
            UnavailableError: nobody answers, or the connection broke, then or later.
            MemosError: what the service raised.
        """
        request = self.client.build_request(
            "GET",
            path,
            params={name: value for name, value in query.items() if value is not None},
            headers=self.headers(caller),
        )
        try:
            answer = await self.client.send(request, stream=True)
        except httpx.TransportError:
            raise UnavailableError("nobody answers there", url=self.url) from None
        if not answer.is_success:
            await answer.aread()
            raise error_of(answer)
        return int(answer.headers["Content-Length"]), _pieces(answer)

    def headers(self, caller: Caller, key: str | None = None) -> dict[str, str]:
        """Returns the headers that state who calls, and why."""
        headers = _headers(caller, key)
        known = self._policies.get(_tenant_of(caller.credential))
        if known is not None:
            # Another gateway than the one that made the change may answer.
            headers["X-Memos-Policy"] = str(known)
        return headers

    async def _once(self, kind: type[M], request: httpx.Request) -> M:
        try:
            answer = await self.client.send(request)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise UnavailableError("nobody answers there", url=self.url, unsent=True) from None
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


async def _pieces(answer: httpx.Response) -> AsyncGenerator[bytes, None]:
    try:
        async for piece in answer.aiter_raw():
            yield piece
    except httpx.TransportError:
        raise UnavailableError("the connection broke") from None
    finally:
        await answer.aclose()


def _check_url(url: str) -> None:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL()
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise InvalidInputError("the URL must look like http://host:8700", field="url")


def new_key() -> str:
    """Makes an idempotency key, under which a request may be repeated."""
    return f"sdk:{uuid4().hex}"


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
