"""Logs name where a defect is, and quote nothing."""

from __future__ import annotations

from memos_ray.core.defects import describe_defect


def test_a_defect_is_told_without_its_message() -> None:
    try:
        raise ValueError("a secret that somebody remembered")
    except ValueError as error:
        told = describe_defect(error)
    assert told.startswith("ValueError at ")
    assert "test_defects.py:" in told
    assert "secret" not in told
