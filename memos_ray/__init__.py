"""A memory operating system for LLMs, on Ray.

`MemOS` and `AsyncMemOS` are the doors; the models are what they take and return; every error is a
`MemosError`. Names are loaded when they are first used, so that importing this package is fast and
starts nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from memos_ray.client.asynchronous import AsyncMemOS
    from memos_ray.client.sync.memos import MemOS
    from memos_ray.client.verbs.pipeline_builder import Pipeline
    from memos_ray.config import Settings
    from memos_ray.core.cube.cube import State
    from memos_ray.core.cube.metadata import Origin, SemanticType, Visibility
    from memos_ray.core.vault.operations import UpdateMode
    from memos_ray.errors import (
        AlreadyExistsError,
        ClientError,
        ConfigurationError,
        ConflictError,
        CredentialExpiredError,
        DatabaseInUseError,
        DataFolderInUseError,
        DeadlineExceededError,
        DimensionMismatchError,
        EmbedderError,
        FencedError,
        FrozenError,
        IdempotencyConflictError,
        IllegalStateError,
        InternalError,
        InvalidCursorError,
        InvalidFilterError,
        InvalidInputError,
        LegalHoldError,
        MemosError,
        NotFoundError,
        NotOwnerError,
        OverloadedError,
        PayloadTooLargeError,
        PermissionDeniedError,
        PolicyUnavailableError,
        QuotaExceededError,
        ServerError,
        StoreCorruptError,
        StoreError,
        StoreFullError,
        StoreVersionError,
        UnauthenticatedError,
        UnavailableError,
        UnsupportedFormatError,
        VectorStoreError,
        VersionConflictError,
    )
    from memos_ray.gateway.admin.models import Change, Documents, Who
    from memos_ray.gateway.memories.bodies import IngestItem, IngestReport
    from memos_ray.gateway.memories.models import (
        AttachmentRef,
        Memory,
        MemoryChange,
        MemoryPage,
        NewMemory,
        SearchHit,
        SearchQuery,
        SearchResult,
        Sharing,
        Source,
        Span,
        WriteReport,
        WriteResult,
    )
    from memos_ray.gateway.memories.record_models import (
        Diff,
        Health,
        History,
        LogEntry,
        LogPage,
        VersionRecord,
    )
    from memos_ray.gateway.problem_model import Problem

_HOMES = {
    "memos_ray.client.asynchronous": ("AsyncMemOS",),
    "memos_ray.client.verbs.pipeline_builder": ("Pipeline",),
    "memos_ray.client.sync.memos": ("MemOS",),
    "memos_ray.config": ("Settings",),
    "memos_ray.core.cube.cube": ("State",),
    "memos_ray.core.cube.metadata": (
        "Origin",
        "SemanticType",
        "Visibility",
    ),
    "memos_ray.core.vault.operations": ("UpdateMode",),
    "memos_ray.errors": (
        "AlreadyExistsError",
        "ClientError",
        "ConfigurationError",
        "ConflictError",
        "CredentialExpiredError",
        "DataFolderInUseError",
        "DatabaseInUseError",
        "DeadlineExceededError",
        "DimensionMismatchError",
        "EmbedderError",
        "FencedError",
        "FrozenError",
        "IdempotencyConflictError",
        "IllegalStateError",
        "InternalError",
        "InvalidCursorError",
        "InvalidFilterError",
        "InvalidInputError",
        "LegalHoldError",
        "MemosError",
        "NotFoundError",
        "NotOwnerError",
        "OverloadedError",
        "PayloadTooLargeError",
        "PermissionDeniedError",
        "PolicyUnavailableError",
        "QuotaExceededError",
        "ServerError",
        "StoreCorruptError",
        "StoreError",
        "StoreFullError",
        "StoreVersionError",
        "UnauthenticatedError",
        "UnavailableError",
        "UnsupportedFormatError",
        "VectorStoreError",
        "VersionConflictError",
    ),
    "memos_ray.gateway.admin.models": (
        "Change",
        "Documents",
        "Who",
    ),
    "memos_ray.gateway.memories.bodies": (
        "IngestItem",
        "IngestReport",
    ),
    "memos_ray.gateway.memories.models": (
        "AttachmentRef",
        "Memory",
        "MemoryChange",
        "MemoryPage",
        "NewMemory",
        "SearchHit",
        "SearchQuery",
        "SearchResult",
        "Sharing",
        "Source",
        "Span",
        "WriteReport",
        "WriteResult",
    ),
    "memos_ray.gateway.problem_model": ("Problem",),
    "memos_ray.gateway.memories.record_models": (
        "Diff",
        "Health",
        "History",
        "LogEntry",
        "LogPage",
        "VersionRecord",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AlreadyExistsError",
    "AsyncMemOS",
    "AttachmentRef",
    "Change",
    "ClientError",
    "ConfigurationError",
    "ConflictError",
    "CredentialExpiredError",
    "DataFolderInUseError",
    "DatabaseInUseError",
    "DeadlineExceededError",
    "Diff",
    "DimensionMismatchError",
    "Documents",
    "EmbedderError",
    "FencedError",
    "FrozenError",
    "Health",
    "History",
    "IdempotencyConflictError",
    "IllegalStateError",
    "IngestItem",
    "IngestReport",
    "InternalError",
    "InvalidCursorError",
    "InvalidFilterError",
    "InvalidInputError",
    "LegalHoldError",
    "LogEntry",
    "LogPage",
    "MemOS",
    "Memory",
    "MemoryChange",
    "MemoryPage",
    "MemosError",
    "NewMemory",
    "NotFoundError",
    "NotOwnerError",
    "Origin",
    "OverloadedError",
    "PayloadTooLargeError",
    "PermissionDeniedError",
    "Pipeline",
    "PolicyUnavailableError",
    "Problem",
    "QuotaExceededError",
    "SearchHit",
    "SearchQuery",
    "SearchResult",
    "SemanticType",
    "ServerError",
    "Settings",
    "Sharing",
    "Source",
    "Span",
    "State",
    "StoreCorruptError",
    "StoreError",
    "StoreFullError",
    "StoreVersionError",
    "UnauthenticatedError",
    "UnavailableError",
    "UnsupportedFormatError",
    "UpdateMode",
    "VectorStoreError",
    "VersionConflictError",
    "VersionRecord",
    "Visibility",
    "Who",
    "WriteReport",
    "WriteResult",
    "__version__",
]


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(home), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
