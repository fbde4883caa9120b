"""A model behind an OpenAI-compatible endpoint: prompts go there as text, answers come back.

    waiting ─▶ asking ──first text──▶ answering ──end──▶ done
     │ full     │ away, failing         │ broken              caller leaves, at any time:
     ▼          ▼                       ▼                     the stream is closed
    Overloaded  asked again, then       UnavailableError
                UnavailableError

Nothing of a request or an answer, and no credential, gets into an error: of the endpoint's own
words only a few well-known codes are passed on.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Any

import httpx
import orjson
from pydantic import BaseModel, ValidationError

from memos_ray.adapters.openai_http import base_of, headers_of, retry_after_s
from memos_ray.core.activation import Refusal
from memos_ray.core.generation import (
    ChatRequest,
    FinishReason,
    GenerationPart,
    KvUse,
    Sampling,
    estimated_tokens,
    joined,
)
from memos_ray.core.loopback import is_loopback
from memos_ray.errors import (
    ConfigurationError,
    DeadlineExceededError,
    InvalidInputError,
    MemosError,
    OverloadedError,
    UnavailableError,
)

_TRIES = 3
_DATA, _END = "data", "[DONE]"
_FINISH = {
    "length": FinishReason.LENGTH,
    "content_filter": FinishReason.CONTENT_FILTER,
}
_KNOWN_CODES = frozenset(
    {"context_length_exceeded", "content_filter", "content_policy_violation", "model_not_found"}
)
_DEFAULTS = Sampling()


class OpenAIModel:
    """Implements `memos_ray.ports.ModelPort`.

    Concurrency: methods run on one event loop, that of the first call.
    """

    def __init__(
        self,
        *,
        base_url: str,
        model: str,
        api_key: str | None = None,
        limit_field: str = "max_tokens",
        at_once: int = 32,
        waiting: int = 64,
        connect_s: float = 5.0,
        silence_s: float = 60.0,
        answer_s: float = 600.0,
        pause_s: float = 0.25,
    ) -> None:
        """Prepares the client; nothing is sent yet.

        Args:
            base_url: address up to and without `/chat/completions`, such as `https://host/v1`.
            model: name of the model at the endpoint.
            api_key: bearer token; it is never logged and never part of an error.
            limit_field: name of the field for the longest answer.
            at_once: requests under way, at most.
            waiting: requests that wait for their turn, at most.
            silence_s: longest wait for a sign of life.
            answer_s: longest time of one answer, waiting for its turn included.
            pause_s: mean pause before the second try; doubles with the third.
        """
        self._model = model
        self._limit_field = limit_field
        self._turns = asyncio.Semaphore(at_once)
        self._room = at_once + waiting
        self._answer_s = answer_s
        self._pause_s = pause_s
        # Redirects stay off (httpx's default): they would carry the key to another host.
        self._client = httpx.AsyncClient(
            base_url=base_of(base_url),
            headers=headers_of(api_key),
            trust_env=not is_loopback(base_url),
            # Turns bound the connections; each wait is for one sign of life.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=at_once),
            timeout=httpx.Timeout(silence_s, connect=connect_s, pool=None),
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    async def chat(
        self, request: ChatRequest, kv: Sequence[object] = (), weights: object | None = None
    ) -> AsyncGenerator[GenerationPart, None]:
        """Yields an answer as it comes; leaving early closes the endpoint's stream.

        While there is no text yet, a failure that may pass is tried again.

        Args:
            kv: is not used, and the last part says so.
            weights: are refused: nothing can be loaded there.

        Raises:
            InvalidInputError: the endpoint refuses the conversation for good.
            OverloadedError: too many requests wait, here or there; `retry_after_s` is the
                endpoint's wish.
            DeadlineExceededError: the endpoint was silent, or its answer took too long.
            UnavailableError: the endpoint is away, fails, or its answer broke off.
            ConfigurationError: the endpoint refuses the key or does not know the model.
        """
        if request.adapter:
            raise InvalidInputError("an endpoint computes this model: no adapters")
        path, body = self._asked(request)
        deadline = asyncio.get_running_loop().time() + self._answer_s
        async with self._turn(deadline):
            for attempt in range(1, _TRIES + 1):
                begun = False
                try:
                    chunks = self._chunks(path, body, deadline)
                    async with aclosing(self._answer(chunks, request, bool(kv))) as parts:
                        async for part in parts:
                            begun = True
                            yield part
                    return
                except (OverloadedError, DeadlineExceededError):
                    raise
                except UnavailableError:
                    if begun or attempt == _TRIES:
                        raise
                await asyncio.sleep(self._pause_s * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))

    @asynccontextmanager
    async def _turn(self, deadline: float) -> AsyncGenerator[None, None]:
        if self._room < 1:
            raise OverloadedError("too many requests wait for the model", model=self._model)
        self._room -= 1
        try:
            with _named():
                async with asyncio.timeout_at(deadline):
                    await self._turns.acquire()
            try:
                yield
            finally:
                self._turns.release()
        finally:
            self._room += 1

    def _asked(self, request: ChatRequest) -> tuple[str, bytes]:
        """Returns path and body of the request; what has OpenAI's default is left out.

        Some models take nothing but the default, and refuse a request that states it.
        """
        wanted = request.sampling
        if wanted.top_k or wanted.ignore_eos:
            raise InvalidInputError("an endpoint takes neither top_k nor ignore_eos")
        body: dict[str, Any] = {
            "model": self._model,
            "stream": True,
            "stream_options": {"include_usage": True},
            self._limit_field: wanted.max_tokens,
        }
        for name in ("temperature", "top_p", "presence_penalty", "frequency_penalty", "seed"):
            value = getattr(wanted, name)
            if value != getattr(_DEFAULTS, name):
                body[name] = value
        if wanted.stop:
            body["stop"] = list(wanted.stop)
        if wanted.json_schema and request.template:
            schema = {"name": "answer", "strict": True, "schema": orjson.loads(wanted.json_schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        if not request.template:
            # The older route knows the older name only.
            body["max_tokens"] = body.pop(self._limit_field)
            return "completions", orjson.dumps({**body, "prompt": joined(request.messages)})
        turns = [{"role": one.role, "content": one.text} for one in request.messages]
        return "chat/completions", orjson.dumps({**body, "messages": turns})

    async def _answer(
        self, given: AsyncGenerator[_Chunk, None], request: ChatRequest, cached: bool
    ) -> AsyncGenerator[GenerationPart, None]:
        said, finish, usage = "", None, None
        async with aclosing(given) as chunks:
            async for chunk in chunks:
                for choice in chunk.choices:
                    text = choice.delta.content or choice.text or ""
                    finish = choice.finish_reason or finish
                    if text:
                        said += text
                        yield GenerationPart(text, ())
                usage = chunk.usage or usage
        if finish is None:
            raise UnavailableError("the answer of the model's endpoint has no end")
        details = usage.prompt_tokens_details if usage else None
        yield GenerationPart(
            "",
            (),
            _FINISH.get(finish, FinishReason.STOP),
            KvUse(
                prompt_tokens=usage.prompt_tokens
                if usage
                else estimated_tokens(joined(request.messages)),
                cached_tokens=(details.cached_tokens or 0) if details else 0,
                refused=Refusal.ENGINE.value if cached else None,
            ),
            answer_tokens=usage.completion_tokens if usage else estimated_tokens(said),
        )

    async def _chunks(
        self, path: str, body: bytes, deadline: float
    ) -> AsyncGenerator[_Chunk, None]:
        json = {"Content-Type": "application/json", "Accept": "text/event-stream"}
        asked = self._client.build_request("POST", path, content=body, headers=json)
        with _named():
            async with asyncio.timeout_at(deadline):
                answer = await self._client.send(asked, stream=True)
        try:
            if answer.status_code != 200:
                with _named():
                    async with asyncio.timeout_at(deadline):
                        await answer.aread()
                raise self._refusal(answer)
            lines = answer.aiter_lines()
            while True:
                # Not around the loop: while the caller has a part, nothing here may end it.
                with _named():
                    async with asyncio.timeout_at(deadline):
                        line = await anext(lines, None)
                if line is None:
                    return
                field, _, value = line.partition(":")
                if field != _DATA:
                    continue
                if value.strip() == _END:
                    return
                yield _chunk_of(value)
        finally:
            await answer.aclose()

    def _refusal(self, answer: httpx.Response) -> MemosError:
        status, model = answer.status_code, self._model
        if status == 429:
            wait_s = math.ceil(retry_after_s(answer)) or 1
            return OverloadedError(
                "too many requests wait for the model", model=model, retry_after_s=wait_s
            )
        if status >= 500 or status == 408:
            return UnavailableError("the model's endpoint is failing", model=model, status=status)
        reason = _code_of(answer.content)
        if status in (400, 413, 422):
            return InvalidInputError(
                "the model's endpoint refuses the request",
                model=model,
                status=status,
                reason=reason,
            )
        return ConfigurationError(
            "the model's endpoint refuses this service", model=model, status=status, reason=reason
        )


class _Delta(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    delta: _Delta = _Delta()
    text: str | None = None
    finish_reason: str | None = None


class _TokenDetails(BaseModel):
    cached_tokens: int | None = None


class _Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    prompt_tokens_details: _TokenDetails | None = None


class _Chunk(BaseModel):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None


def _chunk_of(data: str) -> _Chunk:
    try:
        chunk = _Chunk.model_validate_json(data)
    except ValidationError:
        raise UnavailableError("the model's endpoint answered in another format") from None
    if chunk.error is not None:
        raise UnavailableError("the model's endpoint failed under way")
    return chunk


def _code_of(content: bytes) -> str | None:
    try:
        code = orjson.loads(content)["error"]["code"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return code if isinstance(code, str) and code in _KNOWN_CODES else None


@contextmanager
def _named() -> Iterator[None]:
    """Gives the failures of a connection our names; the type of theirs says enough."""
    try:
        yield
    except (TimeoutError, httpx.ReadTimeout):
        raise DeadlineExceededError("the model's endpoint took too long") from None
    except (httpx.HTTPError, httpx.StreamError) as error:
        raise UnavailableError(
            "the model's endpoint cannot be reached", reason=type(error).__name__
        ) from None
