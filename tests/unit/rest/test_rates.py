"""SCHED-5: a tenant that calls too often hears when to come back."""

from __future__ import annotations

from pathlib import Path

from memos_ray.config import LimitSettings
from memos_ray.errors import OverloadedError
from memos_ray.testing.rest_door import problem_in, rest_door


async def test_SCHED_5_a_rate_is_refused_with_429_and_retry_after(tmp_path: Path) -> None:
    limits = LimitSettings(tenant_calls_per_s=0.001, tenant_burst=6)
    async with rest_door(tmp_path, limits=limits) as door:
        answers = [await door.call("POST", "/v1/search", {"query": "anything"}) for _ in range(9)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert [answer.status_code for answer in answers if answer not in refused].count(200) >= 1
        assert refused and answers[-1] in refused
        problem = problem_in(refused[-1], OverloadedError)
        assert int(refused[-1].headers["retry-after"]) == problem.details["retry_after_s"] > 100


async def test_SCHED_5_a_stranger_uses_up_nothing(tmp_path: Path) -> None:
    limits = LimitSettings(tenant_calls_per_s=0.001, tenant_burst=6)
    async with rest_door(tmp_path, limits=limits) as door:
        key = door.memos.administrator.credential
        for _ in range(20):
            answer = await door.call(
                "POST", "/v1/search", {"query": "anything"}, key=f"{key[:-4]}xxxx"
            )
            assert answer.status_code == 401
        answer = await door.call("POST", "/v1/search", {"query": "anything"})
        assert answer.status_code == 200
