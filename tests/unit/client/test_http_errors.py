"""What an answer over HTTP means, when it is the service's own word and when it is not."""

from __future__ import annotations

import httpx
import pytest

from memos_ray.client.http.link import error_of
from memos_ray.errors import (
    DeadlineExceededError,
    NotFoundError,
    PayloadTooLargeError,
    UnavailableError,
)
from memos_ray.gateway.memories.mapping import problem_of
from memos_ray.gateway.problems import MEDIA_TYPE


def test_the_services_own_word_is_taken_as_it_is() -> None:
    problem = problem_of(NotFoundError("no such memory", cube_id="m1"), "r1")
    answer = httpx.Response(
        404, headers={"Content-Type": MEDIA_TYPE}, content=problem.model_dump_json()
    )
    error = error_of(answer)
    assert type(error) is NotFoundError
    assert error.details["cube_id"] == "m1"


@pytest.mark.parametrize("status", [404, 500, 502, 503])
def test_a_proxy_without_a_replica_says_nothing_about_memories(status: int) -> None:
    error = error_of(httpx.Response(status, text="Path '/v1/memories' not found."))
    assert type(error) is UnavailableError
    assert error.retryable


@pytest.mark.parametrize(
    ("status", "expected"), [(413, PayloadTooLargeError), (504, DeadlineExceededError)]
)
def test_what_a_proxy_can_know_is_taken_from_the_status(
    status: int, expected: type[Exception]
) -> None:
    assert type(error_of(httpx.Response(status, text="<html>"))) is expected
