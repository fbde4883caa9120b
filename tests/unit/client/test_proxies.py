"""Proxies of the environment, and services on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from memos_ray import MemOS, UnavailableError
from memos_ray.config import ClientSettings, Settings
from memos_ray.testing.http_door import http_door

NOBODY = "http://127.0.0.1:1"


def test_loopback_is_reached_past_a_proxy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("HTTP_PROXY", NOBODY)
    once = Settings(client=ClientSettings(attempts=1))
    with http_door(tmp_path) as door:
        with MemOS(url=door.url, api_key=door.admin_key, settings=once) as memos:
            assert memos.whoami().principal == "user:admin"
    with MemOS(url="http://memos.invalid", api_key="x", settings=once) as memos:
        with pytest.raises(UnavailableError) as refused:
            memos.whoami()
        assert refused.value.details["unsent"] is True, "the proxy was asked, and nobody is there"
