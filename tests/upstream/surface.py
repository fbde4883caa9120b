"""What this project relies on in others, and whether it is still there."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Relied:
    """Something of another project.

    Attributes:
        path: `package.module:Name.attribute`.
        where: our module that relies on it.
        given: parameters that we pass by place, in this order; nothing when it is not called.
        named: parameters that we pass by name.
        has: attributes and fields of a class, or names in a module.
        awaited: whether a call gives something to await; nothing when that does not matter.
    """

    path: str
    where: str
    given: tuple[str, ...] | None = None
    named: tuple[str, ...] = ()
    has: tuple[str, ...] = ()
    awaited: bool | None = None


def complaint(relied: Relied) -> str | None:
    """Says what has changed, or nothing."""
    module, _, name = relied.path.partition(":")
    try:
        found: Any = importlib.import_module(module)
        owner: Any = None
        for part in filter(None, name.split(".")):
            # Names of a module may be loaded when they are first asked for.
            look = getattr if inspect.ismodule(found) else inspect.getattr_static
            owner, found = found, look(found, part)
    except (ImportError, AttributeError) as error:
        return _told(relied, f"is gone ({error})")
    problems = [f"has no {one}" for one in relied.has if not _has(found, one)]
    if relied.given is not None or relied.named:
        problems += _call(found, relied, method=inspect.isclass(owner))
    return _told(relied, "; ".join(problems)) if problems else None


def overridden(ours: type, theirs: type) -> list[str]:
    """Says which of our methods no longer override one of theirs, or are called otherwise."""
    problems = [f"{ours.__name__} does not implement {one}" for one in _abstract(ours)]
    for name, member in vars(ours).items():
        if name.startswith("_") and name != "__init__":
            continue
        base = inspect.getattr_static(theirs, name, None)
        if base is None:
            problems.append(f"{theirs.__name__}.{name} is gone")
        elif inspect.isfunction(member) and inspect.isfunction(base):
            mine, its = (tuple(inspect.signature(one).parameters) for one in (member, base))
            if mine != its:
                problems.append(f"{theirs.__name__}.{name} takes {its}, ours {mine}")
    return problems


def _abstract(ours: type) -> Sequence[str]:
    return sorted(getattr(ours, "__abstractmethods__", ()))


def _call(found: Any, relied: Relied, *, method: bool) -> list[str]:
    static = isinstance(found, staticmethod)
    function = found.__func__ if isinstance(found, staticmethod | classmethod) else found
    given = relied.given or ()
    signature = inspect.signature(function)
    own = ["self"] if method and not static else []
    try:
        bound = signature.bind(*own, *given, **dict.fromkeys(relied.named))
    except TypeError as error:
        return [f"is called otherwise ({error}): {signature}"]
    problems = []
    # What is passed by place must also mean the same.
    names = [name for name in bound.arguments if bound.arguments[name] in given]
    if names != list(given):
        problems.append(f"takes {names}, not {list(given)}: {signature}")
    rest = [p.name for p in signature.parameters.values() if p.kind is p.VAR_KEYWORD]
    unnamed = [name for one in rest for name in bound.arguments.get(one, {})]
    if unnamed:
        problems.append(f"does not name {unnamed}: {signature}")
    if relied.awaited is not None and inspect.iscoroutinefunction(function) != relied.awaited:
        problems.append(f"is {'not ' if relied.awaited else ''}awaited")
    return problems


def _has(found: Any, name: str) -> bool:
    if hasattr(found, name):
        return True
    for one in getattr(found, "__mro__", ()):
        fields = {
            *inspect.get_annotations(one),
            *getattr(one, "model_fields", ()),
            *getattr(one, "__struct_fields__", ()),
        }
        begun = vars(one).get("__init__")
        if name in fields or (inspect.isfunction(begun) and name in begun.__code__.co_names):
            return True
    return False


def _told(relied: Relied, problem: str) -> str:
    return f"{relied.path} {problem}; {relied.where} relies on it"
