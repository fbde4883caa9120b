"""Every error that memos-ray raises on purpose.

    MemosError
    ├── ClientError                      the caller can mend it (4xx)
    │   ├── InvalidInputError            a field is missing, mistyped, empty or out of range
    │   │   ├── InvalidFilterError       a filter expression that cannot be understood
    │   │   ├── InvalidCursorError       a page cursor that this service did not mint
    │   │   ├── DimensionMismatchError   a vector of another embedding space
    │   │   └── UnsupportedFormatError   an ingest format that no loader knows
    │   ├── PayloadTooLargeError         over a documented size limit
    │   ├── UnauthenticatedError         no credential, or one that nobody knows
    │   │   └── CredentialExpiredError   a credential past its expiry
    │   ├── PermissionDeniedError        known caller, but no rule allows it
    │   ├── NotFoundError                absent, or not visible to this caller
    │   └── ConflictError                the request disagrees with the stored state
    │       ├── AlreadyExistsError       the id is taken
    │       ├── VersionConflictError     compare-and-set lost: the version moved on
    │       ├── IdempotencyConflictError same key, another request
    │       ├── IllegalStateError        the lifecycle forbids this move
    │       ├── FrozenError              the memory is frozen
    │       ├── LegalHoldError           a legal hold forbids deletion
    │       └── QuotaExceededError       the namespace would hold more than it may
    └── ServerError                      the service failed (5xx)
        ├── UnavailableError             try again soon
        │   ├── OverloadedError          queues are full; back off
        │   ├── DeadlineExceededError    no answer in time; the outcome may be unknown
        │   ├── PolicyUnavailableError   no fresh policy, so access is refused
        │   ├── NotOwnerError            the partition has moved to another shard
        │   ├── FencedError              a newer owner holds the partition
        │   ├── VectorStoreError         Milvus is away or refuses
        │   └── EmbedderError            no embedding could be computed
        ├── StoreError                   the record or blob store failed
        │   ├── StoreFullError           no space left
        │   ├── StoreCorruptError        stored bytes do not check out
        │   └── StoreVersionError        data written by another version of the schema
        ├── DataFolderInUseError         another cluster runs on this data folder
        ├── DatabaseInUseError           another cluster runs on this database
        ├── ConfigurationError           settings that contradict each other or the environment
        └── InternalError                a defect; please report it

Every class carries a stable `code`, the `http_status` of its RFC 9457 problem document, and whether
a plain retry may help. The constructor takes one positional message and keyword details, and an
instance survives pickling, so that it crosses Ray unchanged.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

Detail = str | int | float | bool | None | list[str]


def _rebuild(cls: type[MemosError], message: str, details: dict[str, Detail]) -> MemosError:
    return cls(message, **details)


class MemosError(Exception):
    """Root of the tree.

    Attributes:
        code: stable machine-readable name, documented in `docs/errors.md`.
        http_status: status of the problem document.
        retryable: whether the same request may succeed later without a change.
        details: facts for the caller; never memory content and never a secret.
    """

    code: ClassVar[str] = "error"
    http_status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, /, **details: Detail) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    def __reduce__(
        self,
    ) -> tuple[object, tuple[type[MemosError], str, dict[str, Detail]]]:
        return _rebuild, (type(self), self.message, self.details)

    def __str__(self) -> str:
        if not self.details:
            return self.message
        facts = ", ".join(f"{key}={value}" for key, value in self.details.items())
        return f"{self.message} ({facts})"


class ClientError(MemosError):
    """The caller can mend it."""

    code = "client_error"
    http_status = 400


class InvalidInputError(ClientError):
    """A field is missing, of the wrong type, empty or out of range."""

    code = "invalid_input"
    http_status = 422


class InvalidFilterError(InvalidInputError):
    """A filter expression that cannot be understood."""

    code = "invalid_filter"


class InvalidCursorError(InvalidInputError):
    """A page cursor that this service did not mint, or minted for another query."""

    code = "invalid_cursor"


class DimensionMismatchError(InvalidInputError):
    """A vector whose length differs from its embedding space."""

    code = "dimension_mismatch"


class UnsupportedFormatError(InvalidInputError):
    """An ingest format that no loader knows, or a body that is no plain JSON."""

    code = "unsupported_format"
    http_status = 415


class PayloadTooLargeError(ClientError):
    """Over a documented size limit."""

    code = "payload_too_large"
    http_status = 413


class UnauthenticatedError(ClientError):
    """No credential, or one that nobody knows."""

    code = "unauthenticated"
    http_status = 401


class CredentialExpiredError(UnauthenticatedError):
    """A credential past its expiry."""

    code = "credential_expired"


class PermissionDeniedError(ClientError):
    """A known caller, but no rule allows this."""

    code = "permission_denied"
    http_status = 403


class NotFoundError(ClientError):
    """Absent, or not visible to this caller; the two are not told apart."""

    code = "not_found"
    http_status = 404


class ConflictError(ClientError):
    """The request disagrees with the stored state."""

    code = "conflict"
    http_status = 409


class AlreadyExistsError(ConflictError):
    """The id is taken."""

    code = "already_exists"


class VersionConflictError(ConflictError):
    """Compare-and-set lost: the memory has moved on from the expected version."""

    code = "version_conflict"


class IdempotencyConflictError(ConflictError):
    """The idempotency key was used before with another request."""

    code = "idempotency_conflict"


class IllegalStateError(ConflictError):
    """The lifecycle forbids this move."""

    code = "illegal_state"


class FrozenError(ConflictError):
    """The memory is frozen; no path may change it."""

    code = "frozen"


class LegalHoldError(ConflictError):
    """A legal hold forbids the deletion."""

    code = "legal_hold"


class QuotaExceededError(ConflictError):
    """The namespace would hold more text than its quota; delete something, or have it raised."""

    code = "quota_exceeded"


class ServerError(MemosError):
    """The service failed."""

    code = "server_error"
    http_status = 500


class UnavailableError(ServerError):
    """Try again soon."""

    code = "unavailable"
    http_status = 503
    retryable = True


class OverloadedError(UnavailableError):
    """Queues are full; back off."""

    code = "overloaded"
    # Too Many Requests: what clients of model servers back off from.
    http_status = 429


class DeadlineExceededError(UnavailableError):
    """No answer in time; a write may or may not have happened (retry with its idempotency key)."""

    code = "deadline_exceeded"
    http_status = 504


class PolicyUnavailableError(UnavailableError):
    """No fresh policy at hand, so access is refused."""

    code = "policy_unavailable"


class NotOwnerError(UnavailableError):
    """The partition has moved to another shard; refresh the ring and retry."""

    code = "not_owner"


class FencedError(UnavailableError):
    """A newer owner holds the partition; this one may no longer write."""

    code = "fenced"


class VectorStoreError(UnavailableError):
    """Milvus is away or refuses the request."""

    code = "vector_store"


class EmbedderError(UnavailableError):
    """No embedding could be computed."""

    code = "embedder"


class StoreError(ServerError):
    """The record or blob store failed."""

    code = "store"


class StoreFullError(StoreError):
    """No space left; reads go on, writes are refused."""

    code = "store_full"
    http_status = 507


class StoreCorruptError(StoreError):
    """Stored bytes do not check out."""

    code = "store_corrupt"


class StoreVersionError(StoreError):
    """Data written by another version of the schema."""

    code = "store_version"


class DataFolderInUseError(ServerError):
    """Another cluster runs on this data folder."""

    code = "data_folder_in_use"


class DatabaseInUseError(ServerError):
    """Another cluster runs on this database."""

    code = "database_in_use"


class ConfigurationError(ServerError):
    """Settings that contradict each other or the environment."""

    code = "configuration"


class InternalError(ServerError):
    """A defect in memos-ray; please report it."""

    code = "internal"


def all_errors(root: type[MemosError] = MemosError) -> Iterator[type[MemosError]]:
    """Yields `root` and every class below it, depth first."""
    yield root
    for child in root.__subclasses__():
        yield from all_errors(child)


def error_by_code(code: str) -> type[MemosError]:
    """Returns the class with this code; `MemosError` when the code is of a newer server."""
    return next((cls for cls in all_errors() if cls.code == code), MemosError)
