"""Errors as the public data model has them."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict

from memos_ray.gateway.fields import Model


class Problem(Model):
    """An error as an RFC 9457 problem document; members that are not known are left out."""

    model_config = ConfigDict(extra="ignore")

    type: str
    title: str
    status: int
    code: str
    detail: str
    retryable: bool = False
    details: dict[str, Any] = {}
    request_id: str | None = None
