"""The error tree: what every class promises to callers."""

from __future__ import annotations

import pickle

import pytest

from memos_ray import errors
from memos_ray.errors import ClientError, MemosError, ServerError, all_errors, error_by_code

EVERY = list(all_errors())


@pytest.mark.parametrize("cls", EVERY, ids=lambda cls: cls.__name__)
def test_an_error_survives_pickling(cls: type[MemosError]) -> None:
    error = cls("it went wrong", cube_id="c1", limit=3, names=["a", "b"], flag=True, none=None)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is cls
    assert copy.message == "it went wrong"
    assert copy.details == error.details
    assert str(copy) == str(error)
    assert copy.args == error.args


def test_codes_are_unique() -> None:
    codes = [cls.code for cls in EVERY]
    assert len(set(codes)) == len(codes)


def test_a_code_names_its_class() -> None:
    assert {error_by_code(cls.code) for cls in EVERY} == set(EVERY)
    assert error_by_code("of a newer server") is MemosError


@pytest.mark.parametrize("cls", EVERY, ids=lambda cls: cls.__name__)
def test_the_status_agrees_with_the_branch(cls: type[MemosError]) -> None:
    if issubclass(cls, ClientError):
        assert 400 <= cls.http_status < 500
        assert not cls.retryable
    if issubclass(cls, ServerError):
        # Too Many Requests is about the service, whatever its number says.
        assert 500 <= cls.http_status < 600 or cls.http_status == 429
        assert cls.retryable == issubclass(cls, errors.UnavailableError)


def test_every_error_is_in_the_overview() -> None:
    overview = errors.__doc__ or ""
    assert [cls.__name__ for cls in EVERY if cls.__name__ not in overview] == []


def test_no_error_shadows_a_builtin() -> None:
    builtin = set(dir(__import__("builtins")))
    assert [cls.__name__ for cls in EVERY if cls.__name__ in builtin] == []


def test_the_message_ends_with_the_details() -> None:
    assert str(MemosError("no room", free_bytes=3)) == "no room (free_bytes=3)"
    assert str(MemosError("no room")) == "no room"
