"""Keeps a measurement apart: in a process of its own, its figures on a stream of their own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import ParamSpec, TextIO, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def isolated(measure: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Returns what a module-level function returns in a fresh interpreter.

    None inherits another's heap or threads.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure, *args, **kwargs).result()


def figures_alone() -> TextIO:
    """Takes standard output for the figures, and returns it.

    Whatever else this process and its children print there goes to standard error from now on.
    """
    kept = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return kept
