"""Every failure of the REST door as an RFC 9457 problem document.

A problem names what is wrong and where, and never quotes a memory or a secret: messages of
validators are kept, the values that they refused are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from memos_ray.errors import (
    ClientError,
    DeadlineExceededError,
    InternalError,
    InvalidInputError,
    MemosError,
    NotFoundError,
    PayloadTooLargeError,
    ServerError,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedFormatError,
)
from memos_ray.gateway.chat.openai_errors import openai_document, speaks_openai
from memos_ray.gateway.fields import FORMS, MANY, ONE
from memos_ray.gateway.memories.mapping import problem_of
from memos_ray.gateway.problem_model import Problem

MEDIA_TYPE = "application/problem+json"
_MOST_ERRORS = 20
_MISMATCH = "String should match pattern '"
_LONGEST_PLACE = 200
_BY_STATUS: Mapping[int, type[MemosError]] = {
    401: UnauthenticatedError,
    404: NotFoundError,
    408: DeadlineExceededError,
    413: PayloadTooLargeError,
    415: UnsupportedFormatError,
    422: InvalidInputError,
    503: UnavailableError,
    504: DeadlineExceededError,
}


class UnreadableBodyError(HTTPException):
    """Carries a named error out of the framework's reading of a body."""

    def __init__(self, error: MemosError) -> None:
        super().__init__(error.http_status)
        self.error = error


def invalid(errors: Sequence[Mapping[str, Any]], prefix: tuple[str, ...] = ()) -> InvalidInputError:
    """Makes one error of a validator's findings: where each is, and what is wrong there."""
    found: list[str] = []
    for each in errors[:_MOST_ERRORS]:
        loc = each["loc"]
        if loc[:2] in (("body", ONE), ("body", MANY)):
            # The model that was tried, and nothing that the caller has written.
            loc = (loc[0], *loc[2:])
        place = ".".join(map(str, (*prefix, *loc)))[:_LONGEST_PLACE]
        found.append(f"{place}: {_said(each)}" if place else _said(each))
    return InvalidInputError("the request is not valid", errors=found, error_count=len(errors))


def _said(error: Mapping[str, Any]) -> str:
    message = str(error["msg"]).removeprefix("Value error, ")
    if not message.startswith(_MISMATCH):
        return message
    pattern = message.removeprefix(_MISMATCH).removesuffix("'")
    return f"must be {FORMS[pattern]}" if pattern in FORMS else message


def error_of_validation(
    error: ValidationError | RequestValidationError, prefix: tuple[str, ...] = ()
) -> InvalidInputError:
    """Makes the named error of a failed validation."""
    if isinstance(error, ValidationError):
        return invalid(
            error.errors(include_url=False, include_input=False, include_context=False), prefix
        )
    return invalid(error.errors(), prefix)


def error_of_status(status: int, message: str) -> MemosError:
    """Makes the named error of a bare HTTP status, as a framework or a proxy answers it."""
    kind = _BY_STATUS.get(status)
    if kind is None:
        kind = ClientError if status < 500 else ServerError
    return kind(message)


def error_of_problem(problem: Problem) -> MemosError:
    """Turns a problem document back into the error that it was made of."""
    from memos_ray.errors import error_by_code

    return error_by_code(problem.code)(problem.detail, **problem.details)


def response_of(error: MemosError, scope: Scope, *, status: int | None = None) -> Response:
    """Answers a request, which ASGI's scope describes, with a problem document."""
    problem = problem_of(error, scope.get("state", {}).get("request_id"))
    if status is not None and status != problem.status:
        problem = problem.model_copy(update={"status": status})
    headers = {}
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if problem.retryable:
        headers["Retry-After"] = str(problem.details.get("retry_after_s", 1))
    for_openai = speaks_openai(scope["path"])
    document = openai_document(problem) if for_openai else problem.model_dump(mode="json")
    return Response(orjson.dumps(document), document["status"], headers, MEDIA_TYPE)


async def on_memos_error(request: Request, error: Exception) -> Response:
    """Handles the errors that memos-ray raises on purpose."""
    assert isinstance(error, MemosError)
    return response_of(error, request.scope)


async def on_validation_error(request: Request, error: Exception) -> Response:
    """Handles requests that do not fit their schema."""
    assert isinstance(error, RequestValidationError)
    return response_of(error_of_validation(error), request.scope)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Handles what the framework answers by itself: unknown paths, methods, broken bodies."""
    assert isinstance(error, HTTPException)
    if isinstance(error, UnreadableBodyError):
        return response_of(error.error, request.scope)
    if isinstance(error.__cause__, MemosError):
        return response_of(error.__cause__, request.scope)
    if error.status_code == 400:
        broken = InvalidInputError("the body cannot be read")
        return response_of(broken, request.scope)
    messages = {404: "there is nothing at this path", 405: "this path does not take this method"}
    message = messages.get(error.status_code, "the request was refused")
    answer = response_of(
        error_of_status(error.status_code, message), request.scope, status=error.status_code
    )
    if error.headers:
        answer.headers.update(error.headers)
    return answer


def internal(scope: Scope) -> Response:
    """Answers for a defect: its code and the request id, and nothing else."""
    return response_of(InternalError("an unexpected failure; please report it"), scope)
