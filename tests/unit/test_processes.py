"""Helper processes of tests get ports that are nobody else's."""

from __future__ import annotations

import random
from itertools import chain, count

import pytest

from memos_ray.testing.processes import free_port


def test_a_port_is_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    given = free_port()
    drawn = chain([given, given], count(given + 1))
    monkeypatch.setattr(random.SystemRandom, "randrange", lambda *_: next(drawn))
    assert free_port() > given
