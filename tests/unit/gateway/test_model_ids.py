"""Names of models, with an adapter and without."""

from __future__ import annotations

import pytest

from memos_ray.gateway.chat.model_ids import ModelId, resolve, with_adapter

KNOWN = ("qwen", "org/qwen:7b", "qwen:7b", "plain:base")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("qwen", ModelId("qwen")),
        ("qwen:7b", ModelId("qwen:7b")),
        ("qwen:base", ModelId("qwen", bare=True)),
        ("qwen:0190-abc", ModelId("qwen", "0190-abc")),
        ("qwen:7b:0190-abc", ModelId("qwen:7b", "0190-abc")),
        ("qwen:8b:0190-abc", ModelId("qwen", "8b:0190-abc")),
        ("org/qwen:7b:base", ModelId("org/qwen:7b", bare=True)),
        ("plain:base", ModelId("plain:base")),
        ("plain:base:base", ModelId("plain:base", bare=True)),
        ("qwen:BASE", ModelId("qwen", "BASE")),
    ],
)
def test_what_a_name_stands_for(name: str, meant: ModelId) -> None:
    assert resolve(name, KNOWN) == meant


@pytest.mark.parametrize("name", ["", "other", "qwen:", ":", ":qwen", "other:base", "QWEN"])
def test_names_of_nothing(name: str) -> None:
    assert resolve(name, KNOWN) is None


@pytest.mark.parametrize("base", KNOWN)
def test_a_name_that_is_made_is_understood(base: str) -> None:
    assert resolve(with_adapter(base, "0190-abc"), KNOWN) == ModelId(base, "0190-abc")
