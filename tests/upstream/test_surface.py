"""The checks of this folder notice what they are for."""

from __future__ import annotations

import pytest

from tests.upstream.surface import Relied, complaint, overridden

_HERE = "this test"


class Base:
    def method(self, one: int, two: int) -> None: ...

    def other(self) -> None: ...


class Same(Base):
    def method(self, one: int, two: int) -> None: ...


class Renamed(Base):
    def method(self, first: int, second: int) -> None: ...


class Extra(Base):
    def another(self) -> None: ...


@pytest.mark.parametrize(
    ("relied", "expected"),
    [
        (Relied("pathlib:Path.open", _HERE, ("mode",), ("encoding",)), None),
        (Relied("pathlib:Path", _HERE, has=("parents",)), None),
        (Relied("pathlib:Path.no_such", _HERE), "is gone"),
        (Relied("no_such_module:Name", _HERE), "is gone"),
        (Relied("pathlib:Path", _HERE, has=("parents", "no_such")), "has no no_such"),
        (Relied("pathlib:Path.open", _HERE, ("buffering",)), "takes"),
        (Relied("pathlib:Path.open", _HERE, (), ("no_such",)), "called otherwise"),
        (Relied("json:dumps", _HERE, ("obj",), ("no_such",)), "does not name"),
        (Relied("asyncio:sleep", _HERE, ("delay",), awaited=False), "is awaited"),
        (Relied("json:dumps", _HERE, ("obj",), awaited=True), "is not awaited"),
    ],
)
def test_changes_are_told(relied: Relied, expected: str | None) -> None:
    problem = complaint(relied)
    if expected is None:
        assert problem is None
    else:
        assert problem is not None and expected in problem and _HERE in problem


def test_overriding() -> None:
    assert overridden(Same, Base) == []
    assert "takes" in overridden(Renamed, Base)[0]
    assert "is gone" in overridden(Extra, Base)[0]
