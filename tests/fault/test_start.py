"""A cluster whose Ray does not come up in time at first, as on a very busy machine."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest
import ray
from ray._private import node, services

from memos_ray import MemOS, UnavailableError
from memos_ray.cluster import ray_node
from memos_ray.config import Settings

pytestmark = pytest.mark.fault


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    factory = "memos_ray.testing.embedders:HashingEmbedder"
    return Settings.model_validate(
        {
            "data": tmp_path / "memos",
            "vectors": {"enabled": False},
            "embedder": {"kind": "custom", "factory": factory},
        }
    )


def nodes() -> list[int]:
    """Ray's own processes below this one."""
    found = []
    for child in psutil.Process().children():
        try:
            if child.name() in ("raylet", "gcs_server"):
                found.append(child.pid)
        except psutil.NoSuchProcess:
            continue
    return found


class Late:
    """Has Ray wait for its nodes in vain, some times; stands in for its module `time` there.

    Attributes:
        times: how often; a wait of hours takes no time.
    """

    def __init__(self, times: int) -> None:
        self.times = times
        self.sleep = time.sleep
        self.time = time.time
        self._waited_s = 0.0
        self._look = services.get_node

    def monotonic(self) -> float:
        return time.monotonic() + self._waited_s

    def get_node(self, *given: str) -> object:
        if self.times:
            self.times -= 1
            self._waited_s += 3600.0
            raise RuntimeError("no such node")
        return self._look(*given)


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Late:
    made = Late(request.param)
    monkeypatch.setattr(services, "get_node", made.get_node)
    monkeypatch.setattr(node, "time", made)
    return made


@pytest.mark.parametrize("late", [1], indirect=True)
def test_it_is_started_again_and_nothing_is_left_of_the_first(
    settings: Settings, late: Late
) -> None:
    with MemOS(data=settings.data, settings=settings) as memos:
        assert late.times == 0
        assert memos.add("Ana likes the sea.").ok
        assert len(nodes()) == 2
    assert nodes() == []


@pytest.mark.parametrize("late", [2], indirect=True)
def test_it_is_given_up_in_the_end(
    settings: Settings, late: Late, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_node, "_ATTEMPTS", 2)
    with pytest.raises(UnavailableError, match="timed out"):
        MemOS(data=settings.data, settings=settings)
    assert late.times == 0 and nodes() == []
    assert not ray.is_initialized()
