"""Errors on the OpenAI-compatible routes: one document that both kinds of clients read.

It is the problem document of all routes, with the `error` of OpenAI's API as a further member. What
does not fit a schema is a 400 there, as OpenAI's clients expect it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from memos_ray.gateway.problem_model import Problem

_PATHS = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/models"})
_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}
# The field in which a validator found something: of `body.stop.0: …` it is `stop`.
_PLACE = re.compile(r"(?:body\.)?(\w+)[\w.]*: ")


def speaks_openai(path: str) -> bool:
    """Tells whether OpenAI's clients call this path."""
    return path in _PATHS or path.startswith("/v1/models/")


def openai_document(problem: Problem) -> dict[str, Any]:
    """Returns a problem document with OpenAI's error in it."""
    status = 400 if problem.status == 422 else problem.status
    findings = problem.details.get("errors") or []
    place = _PLACE.match(findings[0]) if findings else None
    param = place[1] if place else problem.details.get("field")
    error = {
        "message": "; ".join([problem.detail, *findings]),
        "type": "server_error" if status >= 500 else _TYPES.get(status, "invalid_request_error"),
        "param": param,
        "code": problem.code,
    }
    return {**problem.model_dump(mode="json"), "status": status, "error": error}
