"""What can happen to a memory, and why; apart, so that who only names a move loads nothing."""

from __future__ import annotations

from enum import StrEnum


class Move(StrEnum):
    """What can happen to a memory; the names are those of the log."""

    REVISE = "revise"
    UNITE = "unite"
    ARCHIVE = "archive"
    EXPIRE = "expire"
    DELETE = "delete"
    RESTORE = "restore"
    FREEZE = "freeze"
    UNFREEZE = "unfreeze"
    HOLD = "hold"
    RELEASE = "release"
    CLOSE = "close"
    ERASE = "erase"
    COLLECT = "collect"


class Cause(StrEnum):
    """Why a move was made.

    `REQUEST`: a caller asked for it. The others are the lifecycle's own: `LIFESPAN`, its time
    is over; `DECAY`, it has lost its heat; `UNUSED`, nobody has read it for long; `RETENTION`, it
    was deleted or expired long enough ago; `BRANCH`, the branch that it belongs to has ended, or
    what it was taken over from has been erased; `LINEAGE`, it follows what it was extracted from.
    """

    REQUEST = "request"
    LIFESPAN = "lifespan"
    DECAY = "decay"
    UNUSED = "unused"
    RETENTION = "retention"
    BRANCH = "branch"
    LINEAGE = "lineage"
