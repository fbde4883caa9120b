"""What the routes take from a request: the caller, the JSON body, the idempotency key."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, TypeVar

import orjson
from fastapi import Depends, Header, Path, Query, Request, Response, Security
from fastapi.dependencies.utils import get_flat_dependant
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from memos_ray.config import LimitSettings
from memos_ray.errors import InvalidInputError, UnauthenticatedError, UnsupportedFormatError
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.doorway import Doorway
from memos_ray.gateway.fields import Key, Label, MemoryId, Model, NamespaceName
from memos_ray.gateway.metrics import HttpMetrics
from memos_ray.gateway.problems import UnreadableBodyError

M = TypeVar("M", bound=Model)

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="key",
    description="An API key (`mk_…`) or a JSON Web Token of a registered issuer.",
)


class JsonRequest(Request):
    """A request whose JSON is read strictly: UTF-8 only, no NaN, no lone surrogates."""

    async def json(self) -> Any:
        """Returns the parsed body.

        Raises:
            UnreadableBodyError: it is not JSON, or not UTF-8.
        """
        body = await self.body()
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as error:
            try:
                body.decode()
            except UnicodeDecodeError as broken:
                raise UnreadableBodyError(
                    InvalidInputError(
                        "the body is not valid UTF-8",
                        reason="invalid_encoding",
                        byte_offset=broken.start,
                    )
                ) from None
            raise UnreadableBodyError(
                InvalidInputError(
                    "the body is not valid JSON", reason="invalid_json", character=error.pos
                )
            ) from None


def _is_json(request: Request) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or (
        kind.startswith("application/") and kind.endswith("+json")
    )


class JsonRoute(APIRoute):
    """A route that reads its body with `JsonRequest` and knows all of its query parameters."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wraps the framework's handler."""
        original = super().get_route_handler()
        takes_json = self.body_field is not None
        known = {field.alias for field in get_flat_dependant(self.dependant).query_params}

        async def handler(request: Request) -> Response:
            for name in request.query_params:
                if name not in known:
                    # A mistyped `hard` or `namespace` must not pass for one that is absent.
                    raise InvalidInputError(
                        "there is no such query parameter", field=name[:64], known=sorted(known)
                    )
            asked = JsonRequest(request.scope, request.receive)
            if takes_json and not _is_json(asked) and await asked.body():
                raise UnsupportedFormatError(
                    "send the body as application/json", field="Content-Type"
                )
            return await original(asked)

        return handler


# Coroutines, though they wait for nothing: plain functions would each run in a thread.
async def _caller(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    purpose: Annotated[
        Label | None,
        Header(alias="X-Memos-Purpose", description="Why memory is wanted; policies may ask."),
    ] = None,
    role: Annotated[
        Label | None,
        Header(alias="X-Memos-Role", description="The one role to use, of those that are held."),
    ] = None,
    application: Annotated[
        Label | None,
        Header(alias="X-Memos-Application", description="The application that calls."),
    ] = None,
    policy: Annotated[
        int,
        Header(
            alias="X-Memos-Policy",
            ge=0,
            lt=2**62,
            description="Version of the policy, as a change returned it, to be judged by at least.",
        ),
    ] = 0,
) -> Caller:
    if credentials is None:
        raise UnauthenticatedError("send `Authorization: Bearer` with an API key or a token")
    request_id: str = request.state.request_id
    return Caller(credentials.credentials, purpose, role, application, request_id, policy)


async def _doorway(request: Request) -> Doorway:
    doorway: Doorway = request.app.state.doorway
    return doorway


async def _limits(request: Request) -> LimitSettings:
    limits: LimitSettings = request.app.state.limits
    return limits


async def _metrics(request: Request) -> HttpMetrics:
    metrics: HttpMetrics = request.app.state.metrics
    return metrics


CallerDep = Annotated[Caller, Depends(_caller)]
DoorwayDep = Annotated[Doorway, Depends(_doorway)]
LimitsDep = Annotated[LimitSettings, Depends(_limits)]
MetricsDep = Annotated[HttpMetrics, Depends(_metrics)]
Id = Annotated[MemoryId, Path(description="Id of the memory.")]
Namespace = Annotated[
    NamespaceName | None, Query(description="Where it lives; the caller's own home when absent.")
]
IdempotencyKey = Annotated[
    Key | None,
    Header(
        alias="Idempotency-Key",
        description="A retry with the same key and request gets the first answer again.",
    ),
]


def merged_key(header: str | None, body: str | None) -> str | None:
    """Returns the idempotency key of a write, wherever it stands.

    Raises:
        InvalidInputError: header and body name different keys.
    """
    if header is not None and body is not None and header != body:
        raise InvalidInputError(
            "header and body name different idempotency keys", field="idempotency_key"
        )
    return header or body


def keyed(model: M, header: str | None) -> M:
    """Returns a change with the idempotency key that the header or the body names."""
    key = merged_key(header, getattr(model, "idempotency_key", None))
    return model.model_copy(update={"idempotency_key": key})
