"""An engine in a child process: vLLM allows one in a process, and leaves that one changed."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

from memos_ray.core.activation import EngineFingerprint, KvPayload, SourceVersion
from memos_ray.core.generation import FinishReason, GenerationRequest, KvUse
from memos_ray.core.parameter import AdapterPayload
from memos_ray.ports import EnginePort

_START_S = 300.0
_ANSWER_S = 240.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer.

    Attributes:
        first_token_s: from the request to its first part, inside the child.
    """

    text: str
    tokens: tuple[int, ...]
    finish: FinishReason | None
    kv: KvUse
    first_token_s: float


@dataclass(frozen=True, slots=True)
class Asked:
    """A request with its KV caches, and with an adapter that is loaded first if it must be."""

    request: GenerationRequest
    kv: tuple[KvPayload, ...] = ()
    adapter: AdapterPayload | None = None


@dataclass(slots=True)
class EngineProcess:
    """Starts an engine and asks it; use as a context manager.

    Attributes:
        factory: makes the engine in the child; pickled on the way there.
    """

    factory: Callable[[], EnginePort]
    fingerprint: EngineFingerprint = field(init=False)
    _child: Any = field(init=False, default=None)
    _pipe: Connection = field(init=False)

    def __enter__(self) -> EngineProcess:
        # Forked from a process that has imported vLLM, which takes ten seconds, and nothing else.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["memos_ray.testing.imported_vllm"])
        self._pipe, theirs = context.Pipe()
        # Not a daemon: an engine may have processes of its own.
        self._child = context.Process(target=_serve, args=(self.factory, theirs))
        self._child.start()
        theirs.close()
        self.fingerprint = self._receive(_START_S)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pipe.close()
        self._child.join(30)
        if self._child.is_alive():
            self._child.kill()
            self._child.join()

    def ask(self, asked: Sequence[Asked]) -> list[Answer]:
        """Sends requests all at once and returns their answers, in order.

        Raises:
            MemosError: what the engine raised for one of them.
        """
        found: list[Answer] = self._call("ask", list(asked))
        return found

    def leave(self, request: GenerationRequest, parts: int) -> bool:
        """Reads so many parts of an answer, then leaves it.

        Returns:
            Whether the engine held blocks until then; see `EnginePort.forget`.
        """
        return bool(self._call("leave", request, parts))

    def export_kv(
        self,
        tokens: tuple[int, ...],
        *,
        salt: str,
        adapter: str = "",
        sources: tuple[SourceVersion, ...] = (),
        start: int = 0,
    ) -> KvPayload:
        """See `EnginePort.export_kv`."""
        payload: KvPayload = self._call("export_kv", tokens, salt, adapter, sources, start)
        return payload

    @property
    def adapters(self) -> dict[str, bool]:
        """See `EnginePort.adapters`."""
        found: dict[str, bool] = self._call("adapters")
        return found

    def load_adapter(self, payload: AdapterPayload, *, pinned: bool = False) -> None:
        """See `EnginePort.load_adapter`."""
        self._call("load_adapter", payload, pinned)

    def drop_adapter(self, digest: str) -> bool:
        """See `EnginePort.drop_adapter`."""
        return bool(self._call("drop_adapter", digest))

    def forget(self) -> bool:
        """See `EnginePort.forget`."""
        return bool(self._call("forget"))

    def _call(self, method: str, *arguments: object) -> Any:
        self._pipe.send((method, arguments))
        return self._receive(_ANSWER_S)

    def _receive(self, limit_s: float) -> Any:
        if not self._pipe.poll(limit_s):
            raise TimeoutError("the engine does not answer")
        found = self._pipe.recv()
        if isinstance(found, Exception):
            raise found
        return found


def _serve(factory: Callable[[], EnginePort], pipe: Connection) -> None:
    try:
        engine = factory()
    except Exception as error:
        pipe.send(error)
        return
    pipe.send(engine.fingerprint)
    try:
        asyncio.run(_answer_calls(engine, pipe))
    finally:
        engine.close()


async def _answer_calls(engine: EnginePort, pipe: Connection) -> None:
    loop = asyncio.get_running_loop()

    async def whole(asked: Asked) -> Answer:
        started = loop.time()
        first_s: float | None = None
        text, tokens, part = "", tuple[int, ...](), None
        adapter = asked.adapter
        while adapter is not None and adapter.manifest.digest not in engine.adapters:
            await engine.load_adapter(adapter)
        async for part in engine.generate(asked.request, asked.kv):
            first_s = loop.time() - started if first_s is None else first_s
            text += part.text
            tokens += part.tokens
        assert part is not None and part.kv is not None and first_s is not None
        return Answer(text, tokens, part.finish, part.kv, first_s)

    async def leave(request: GenerationRequest, parts: int) -> bool:
        async with aclosing(engine.generate(request)) as answer:  # type: ignore[type-var]
            for _ in range(parts):
                await anext(answer)
            return not await engine.forget()

    async def export_kv(
        tokens: tuple[int, ...],
        salt: str,
        adapter: str,
        sources: tuple[SourceVersion, ...],
        start: int,
    ) -> KvPayload:
        return await engine.export_kv(
            tokens, salt=salt, adapter=adapter, sources=sources, start=start
        )

    async def ask(asked: Sequence[Asked]) -> list[Answer]:
        return await asyncio.gather(*map(whole, asked))

    async def adapters() -> dict[str, bool]:
        return dict(engine.adapters)

    async def load_adapter(payload: AdapterPayload, pinned: bool) -> None:
        await engine.load_adapter(payload, pinned=pinned)

    calls: dict[str, Callable[..., Awaitable[object]]] = {
        "ask": ask,
        "leave": leave,
        "export_kv": export_kv,
        "adapters": adapters,
        "load_adapter": load_adapter,
        "drop_adapter": engine.drop_adapter,
        "forget": engine.forget,
    }
    while True:
        try:
            method, arguments = await loop.run_in_executor(None, pipe.recv)
        except (EOFError, OSError):
            return
        try:
            found = await calls[method](*arguments)
        except Exception as error:
            found = error
        pipe.send(found)
