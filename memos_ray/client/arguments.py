"""The rules for what calls name: the same in every place that a client connects to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, StringConstraints, ValidationError

from memos_ray.gateway.fields import (
    Credential,
    Key,
    Label,
    MemoryId,
    Model,
    Moment,
    Name,
    NamespaceName,
    Reason,
    Version,
)
from memos_ray.gateway.problems import error_of_validation
from memos_ray.gateway.records.provenance_models import Direction

M = TypeVar("M", bound=Model)


class _Arguments(Model):
    """Everything that a call may name; a required one has a default here that no call sends."""

    id: MemoryId = ""
    before: Version = 0
    after: Version = 0
    to: Version = 0
    limit: Annotated[int, Field(ge=1, le=1000)] = 1
    namespace: NamespaceName | None = None
    version: Version | None = None
    expected_version: Version | None = None
    cursor: Annotated[str, StringConstraints(max_length=4096)] | None = None
    tags: tuple[Name, ...] = ()
    reason: Reason | None = None
    idempotency_key: Key | None = None
    principal: Name | None = None
    operation: Name | None = None
    memory_id: MemoryId | None = None
    request_id: Key | None = None
    purpose: Label | None = None
    role: Label | None = None
    application: Label | None = None
    since: Moment | None = None
    until: Moment | None = None
    direction: Direction | None = None
    data: Path | None = None
    address: str | None = None
    url: str | None = None
    api_key: Credential | None = None


def check(**given: object) -> None:
    """Verifies the arguments of a call by their names.

    Raises:
        InvalidInputError: one has another form; says which.
    """
    valid(_Arguments, **given)


def valid(kind: type[M], **fields: Any) -> M:
    """Makes a model.

    Raises:
        InvalidInputError: a field does not fit; says which.
    """
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise error_of_validation(error) from None
