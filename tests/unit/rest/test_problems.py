"""Each error crosses REST unchanged: into a problem document, and back into the same error."""

from __future__ import annotations

import pytest

from memos_ray.client.http.link import error_of
from memos_ray.errors import LegalHoldError, MemosError, all_errors
from memos_ray.gateway.admin.service import AdminService
from memos_ray.testing.rest_door import RestDoor, problem_in

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("cls", list(all_errors()), ids=lambda cls: cls.code)
async def test_an_error_arrives_as_itself(
    door: RestDoor, monkeypatch: pytest.MonkeyPatch, cls: type[MemosError]
) -> None:
    sent = cls("it went wrong", cube_id="c1", limit=3, names=["a", "b"], flag=True, none=None)

    async def fail(*_: object) -> None:
        raise sent

    monkeypatch.setattr(AdminService, "whoami", fail)
    answer = await door.call("GET", "/v1/whoami")
    assert answer.status_code == cls.http_status
    problem = problem_in(answer, cls)
    assert problem.detail == sent.message
    received = error_of(answer)
    assert type(received) is cls
    assert (received.message, received.details) == (sent.message, sent.details)


async def test_a_legal_hold_forbids_deletion(door: RestDoor) -> None:
    added = await door.done("POST", "/v1/memories", {"text": "evidence", "legal_hold": True})
    path = f"/v1/memories/{added['results'][0]['id']}"
    for hard in (False, True):
        problem_in(await door.call("DELETE", path, params={"hard": hard}), LegalHoldError)
    assert (await door.done("GET", path))["legal_hold"] is True
