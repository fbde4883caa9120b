"""How often a program that opens a cluster looks for cycles."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from memos_ray.actors import interpreter


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def test_SERVE_4_cycles_are_looked_for_less_often() -> None:
    gc.set_threshold(700, 10, 10)
    interpreter.spare()
    often, *others = gc.get_threshold()
    assert often > 10_000 and others == [10, 10]


@pytest.mark.parametrize("chosen", [(500, 5, 5), (0, 0, 0), (100_000, 50, 50)])
def test_SERVE_4_a_program_that_has_chosen_how_often_keeps_its_choice(
    chosen: tuple[int, int, int],
) -> None:
    gc.set_threshold(*chosen)
    interpreter.spare()
    assert gc.get_threshold() == chosen
