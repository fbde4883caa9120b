"""What a client talks to, wherever that is: the services in this process, or a URL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from memos_ray.gateway.memories.models import NewMemory

if TYPE_CHECKING:
    from memos_ray.client.http.transport import HttpTransport
    from memos_ray.client.local import LocalTransport

Item = NewMemory | Mapping[str, Any]

Transport: TypeAlias = "HttpTransport | LocalTransport"
"""Either has the same verbs, of which each raises the errors of `memos_ray.errors`."""
