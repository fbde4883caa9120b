"""What a log may say of an unexpected exception."""

from __future__ import annotations

import traceback

_FRAMES = 8


def describe_defect(error: BaseException) -> str:
    """Names an exception's class and the lines that it passed, innermost first.

    Not its message, which may quote what somebody remembered.
    """
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    where = " < ".join(f"{frame.filename}:{frame.lineno}" for frame in reversed(frames))
    return f"{type(error).__name__} at {where}"
