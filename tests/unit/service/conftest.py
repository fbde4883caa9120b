"""Prompts and lists wait for what is nearly there, however slow the machine."""

from __future__ import annotations

import pytest

from memos_ray.actors.activation import kv_caches
from memos_ray.actors.organising import topics
from memos_ray.actors.parameter import adapters

_LONG_S = 60.0


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes a moment longer: what comes within it does not hang on the speed of the machine."""
    monkeypatch.setattr(adapters, "_PATIENCE_S", _LONG_S)
    monkeypatch.setattr(adapters, "_NAMED_PATIENCE_S", _LONG_S)
    monkeypatch.setattr(kv_caches, "_PATIENCE_S", (_LONG_S, _LONG_S))
    monkeypatch.setattr(topics, "_PATIENCE_S", _LONG_S)
