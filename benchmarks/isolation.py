"""Runs a measurement in a process of its own, so that none inherits another's heap or threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def isolated(measure: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Returns what a module-level function returns in a fresh interpreter."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure, *args, **kwargs).result()
