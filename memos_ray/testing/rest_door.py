"""The REST door over a MemOS in this process: the real application, called without a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from memos_ray.actors.extraction.extraction import ExtractionParts
from memos_ray.config import LimitSettings, Settings
from memos_ray.core.scheduling import Learning
from memos_ray.errors import MemosError, error_by_code
from memos_ray.gateway.app import create_app
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.problem_model import Problem
from memos_ray.gateway.problems import MEDIA_TYPE
from memos_ray.ports import ClockPort, KvBuilderPort, ModelPort, TrainerPort
from memos_ray.testing.in_process import InProcess, in_process

_ORIGIN = "http://door"


@dataclass(frozen=True, slots=True)
class RestDoor:
    """A client whose requests go straight into the application, as the administrator's."""

    memos: InProcess
    app: FastAPI
    client: httpx.AsyncClient

    async def call(
        self, method: str, path: str, body: object = None, *, key: str | None = None, **more: Any
    ) -> httpx.Response:
        """Sends a request; `key` is the credential, the administrator's when absent.

        Args:
            body: sent as JSON, unless there is none.
            more: further arguments of `httpx.AsyncClient.request`.
        """
        credential = self.memos.administrator.credential if key is None else key
        headers = {"Authorization": f"Bearer {credential}"} if credential else {}
        headers.update(more.pop("headers", {}))
        if body is not None:
            more["json"] = body
        return await self.client.request(method, path, headers=headers, **more)

    async def done(
        self, method: str, path: str, body: object = None, *, key: str | None = None, **more: Any
    ) -> Any:
        """Sends a request that succeeds, and returns the JSON of its answer."""
        answer = await self.call(method, path, body, key=key, **more)
        assert answer.is_success, answer.text
        return answer.json()

    async def key_of(self, principal: str, *roles: str) -> str:
        """Makes a principal and returns a key of its own."""
        caller: Caller = await self.memos.caller(principal, *roles)
        return caller.credential


def problem_in(answer: httpx.Response, expected: type[MemosError]) -> Problem:
    """Checks that an answer is an RFC 9457 problem document of one kind of error."""
    assert answer.headers["content-type"] == MEDIA_TYPE, answer.text
    problem = Problem.model_validate_json(answer.content)
    assert problem.code == expected.code, answer.text
    assert problem.status == answer.status_code
    assert problem.type == f"urn:memos-ray:error:{problem.code}"
    assert problem.title and problem.detail
    assert problem.retryable is error_by_code(problem.code).retryable
    assert problem.request_id == answer.headers["x-request-id"]
    assert ("retry-after" in answer.headers) is problem.retryable
    return problem


@asynccontextmanager
async def rest_door(
    folder: Path,
    *,
    limits: LimitSettings | None = None,
    clock: ClockPort | None = None,
    models: Mapping[str, ModelPort] | None = None,
    kv_builder: KvBuilderPort | None = None,
    trainer: TrainerPort | None = None,
    learning: Mapping[str, Learning] | None = None,
    extraction: ExtractionParts | None = None,
) -> AsyncIterator[RestDoor]:
    """Opens the door for the length of a block; `folder` keeps the data."""
    settings = Settings(data=folder, limits=limits or LimitSettings())
    async with in_process(
        folder,
        limits=settings.limits,
        clock=clock,
        models=models,
        kv_builder=kv_builder,
        trainer=trainer,
        learning=learning,
        extraction=extraction,
    ) as memos:
        app = create_app(memos.doorway, settings)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=_ORIGIN) as client:
            yield RestDoor(memos, app, client)
