"""Exit codes: what a script can tell apart without reading the message."""

from __future__ import annotations

from enum import IntEnum

from memos_ray.errors import (
    ConfigurationError,
    ConflictError,
    DatabaseInUseError,
    DataFolderInUseError,
    InvalidInputError,
    MemosError,
    NotFoundError,
    PayloadTooLargeError,
    PermissionDeniedError,
    StoreError,
    UnauthenticatedError,
    UnavailableError,
)


class ExitCode(IntEnum):
    """Exit codes of every command; listed in `docs/cli.md`, checked by a test."""

    DONE = 0
    FAILED = 1
    INVALID = 2
    NOT_FOUND = 3
    REFUSED = 4
    CONFLICT = 5
    UNAVAILABLE = 6
    IN_USE = 7
    CONFIGURATION = 8
    STORE = 9
    PARTLY = 10
    INTERRUPTED = 130

    @property
    def meaning(self) -> str:
        """What it says, in a few words."""
        return _MEANINGS[self]


_MEANINGS = {
    ExitCode.DONE: "done",
    ExitCode.FAILED: "an unexpected failure, or a check of `doctor` that failed",
    ExitCode.INVALID: "the command or its input is not valid",
    ExitCode.NOT_FOUND: "no such memory, version, key or file, or not visible to this caller",
    ExitCode.REFUSED: "no credential, an unknown or expired one, or no permission",
    ExitCode.CONFLICT: "the stored state forbids it: stale version, taken id, frozen, legal hold",
    ExitCode.UNAVAILABLE: "nothing runs there, or it does not answer now: try again",
    ExitCode.IN_USE: "another cluster runs on the data folder",
    ExitCode.CONFIGURATION: "settings that do not fit each other or the machine; a port is taken",
    ExitCode.STORE: "the record or blob store failed: disk full, damaged, other version",
    ExitCode.PARTLY: "some items were refused; the report says which",
    ExitCode.INTERRUPTED: "interrupted from the keyboard",
}

_BY_ERROR: tuple[tuple[tuple[type[MemosError], ...], ExitCode], ...] = (
    ((InvalidInputError, PayloadTooLargeError), ExitCode.INVALID),
    ((NotFoundError,), ExitCode.NOT_FOUND),
    ((UnauthenticatedError, PermissionDeniedError), ExitCode.REFUSED),
    ((ConflictError,), ExitCode.CONFLICT),
    ((UnavailableError,), ExitCode.UNAVAILABLE),
    ((DataFolderInUseError, DatabaseInUseError), ExitCode.IN_USE),
    ((ConfigurationError,), ExitCode.CONFIGURATION),
    ((StoreError,), ExitCode.STORE),
)


def exit_code_of(error: MemosError) -> ExitCode:
    """Returns the exit code that stands for an error."""
    for kinds, code in _BY_ERROR:
        if isinstance(error, kinds):
            return code
    return ExitCode.FAILED
