"""Through REST: retrieval, plan and routing included, on a cluster with one replica.

Two namespaces hold the same memories, which make up a shared block of some 2,000 tokens. In one
they are converted: every prompt begins with them, as a KV cache. In the other they are found by the
search and come as text; prompts are the same. Embedder, Milvus and everything else are as by
default; client, door, shard and replica share the machine's cores.

    rest   one user, an engine that has forgotten everything: time to the first streamed token
    chat   1, 8 and 32 users, each with questions of their own, one after another; the engine has
           forgotten everything when a stage begins. The text's common prefix is cached by the
           engine itself, once somebody's prompt has been computed
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import serve

from benchmarks.latency.adds import settled
from benchmarks.latency.shard import accepted
from benchmarks.metrics import percentile
from benchmarks.synthetic import Turn, turns
from benchmarks.ttft.subject import Subject, say
from memos_ray import AsyncMemOS
from memos_ray.cli.cluster.server import Server
from memos_ray.cluster.keyring import Keyring
from memos_ray.config import Settings
from memos_ray.core.cube.payload import Form
from memos_ray.core.scheduling import prompt_line
from memos_ray.gateway.chat.models import ChatUsage
from memos_ray.serving.deployment import application_of
from memos_ray.serving.tokenizer import ModelTokenizer

MODEL = "bench"
_CACHED, _PLAIN = "user:admin/cached", "user:admin/plain"
_FORMS = {_CACHED: Form.ACTIVATION, _PLAIN: Form.PLAINTEXT}
_SPARE_TOKENS = 1024
_MEMORIES_MOST, _TEXT_TOKENS_MOST = 200, 1 << 16
_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Heard:
    """One answer, as a client sees it.

    Attributes:
        first_s: from the request to the first token.
    """

    first_s: float
    usage: ChatUsage

    @property
    def prefilled_tokens(self) -> int:
        """Tokens of the prompt that the engine has computed."""
        return self.usage.prompt_tokens - self.usage.cached_tokens


def measure(
    subject: Subject, block_tokens: int, tries: int, users: list[int], per_user: int
) -> dict[str, Any]:
    """Returns the figures of `rest` and `chat`.

    Args:
        block_tokens: least length of the shared block.
        per_user: questions of each user.
    """
    longest = 2 * block_tokens + _SPARE_TOKENS
    model = subject.settings(longest, sequences=max(*users, 8), waiting_max=4 * max(users))
    with tempfile.TemporaryDirectory(prefix="memos-bench-") as folder:
        settings = Settings.model_validate(
            {
                "data": Path(folder),
                "models": [model],
                "gateway": {"port": 0},
                "object_store_bytes": 512 << 20,
                # The text namespace must stay text.
                "promotion": {"enabled": False},
            }
        )
        server = Server(settings)
        running = server.start()
        try:
            key = Keyring(settings).admin_key()
            block = _block(ModelTokenizer(subject.folder), block_tokens)
            return asyncio.run(
                _measure(AsyncMemOS(url=running.url, api_key=key), block, tries, users, per_user)
            )
        finally:
            server.stop()


async def _measure(
    memos: AsyncMemOS, block: list[Turn], tries: int, users: list[int], per_user: int
) -> dict[str, Any]:
    async with memos:
        door = _Door(memos, len(block))
        await door.fill(block)
        say(f"rest: {len(block)} memories stored and converted")
        return {
            "rest": await _rest(door, tries),
            "chat": [await _chat(door, count, per_user) for count in users],
        }


class _Door:
    """The cluster as its clients see it, and a way to have its replica forget."""

    def __init__(self, memos: AsyncMemOS, memories: int) -> None:
        self._memos = memos
        self._memories = memories
        self._replica = serve.get_app_handle(application_of(MODEL))
        self._asked = 0

    async def fill(self, block: list[Turn]) -> None:
        for place in (_CACHED, _PLAIN):
            await self._memos.admin.create_namespace(place, kind="user_private")
            report = await self._memos.add([turn.fields() for turn in block], namespace=place)
            accepted(report)
            await settled(self._memos, place)
            if place == _CACHED:
                ids = [result.id or "" for result in report.results]
                await self._memos.convert(ids, MODEL, namespace=place)

    async def forget(self) -> None:
        async with asyncio.timeout(_PATIENCE_S):
            # Not while the last request still holds its blocks.
            while not await self._replica.forget.remote():
                pass

    async def ask(self, place: str, max_tokens: int) -> Heard:
        """Asks something new, and checks that the memories came, in the form that is measured."""
        self._asked += 1
        started, first_s, used, last = time.perf_counter(), None, None, None
        events = self._memos.chat_stream(
            f"What did they say about number {self._asked:05}?",
            MODEL,
            namespaces=[place],
            memories=_MEMORIES_MOST,
            memory_tokens=_TEXT_TOKENS_MOST,
            max_tokens=max_tokens,
            temperature=0.0,
        )
        async for last in events:
            if last.memories is not None:
                used = last.memories
            elif first_s is None:
                first_s = time.perf_counter() - started
        assert used is not None and first_s is not None
        assert last is not None and last.usage is not None
        forms = {memory.form for memory in used}
        if len(used) != self._memories or forms != {_FORMS[place]}:
            raise RuntimeError(f"{len(used)} of {self._memories} memories came, as {forms}")
        return Heard(first_s, last.usage)


async def _rest(door: _Door, tries: int) -> dict[str, Any]:
    heard: dict[str, list[Heard]] = {_CACHED: [], _PLAIN: []}
    # The very first question of all pays for what the door loads and connects.
    await door.ask(_PLAIN, max_tokens=8)
    for number in range(tries + 1):
        for place, answers in heard.items():
            await door.forget()
            answers.append(await door.ask(place, max_tokens=8))
        say(f"rest: try {number} of {tries}")
    first, *cached = heard[_CACHED]
    plain = heard[_PLAIN][1:]
    kv_ms, text_ms = _p50(cached), _p50(plain)
    return {
        "prompt_tokens": cached[-1].usage.prompt_tokens,
        "prompt_tokens_as_text": plain[-1].usage.prompt_tokens,
        "cached_tokens": cached[-1].usage.cached_tokens,
        "kv_ms": kv_ms,
        "kv_first_ms": _p50([first]),
        "text_ms": text_ms,
        "speedup": round(text_ms / kv_ms, 1),
    }


async def _chat(door: _Door, users: int, per_user: int) -> dict[str, Any]:
    found: dict[str, Any] = {"users": users, "requests": users * per_user}
    for name, place in (("kv", _CACHED), ("text", _PLAIN)):
        await door.forget()
        started = time.perf_counter()
        each = await asyncio.gather(*(_talk(door, place, per_user) for _ in range(users)))
        took_s = time.perf_counter() - started
        heard = [answer for answers in each for answer in answers]
        waits = [answer.first_s for answer in heard]
        found[name] = {
            "requests_per_s": round(len(heard) / took_s, 2),
            "tokens_per_s": round(sum(one.usage.completion_tokens for one in heard) / took_s, 1),
            "ttft_p50_ms": round(1e3 * percentile(waits, 0.5), 1),
            "ttft_p95_ms": round(1e3 * percentile(waits, 0.95), 1),
            "prompt_tokens": sum(one.usage.prompt_tokens for one in heard),
            "prefilled_tokens": sum(one.prefilled_tokens for one in heard),
        }
        say(f"chat: {users} users, memory as {name}")
    return found


async def _talk(door: _Door, place: str, questions: int) -> list[Heard]:
    return [await door.ask(place, max_tokens=32) for _ in range(questions)]


def _p50(heard: list[Heard]) -> float:
    return round(1e3 * percentile([answer.first_s for answer in heard], 0.5), 1)


def _block(tokenizer: ModelTokenizer, least: int) -> list[Turn]:
    """Returns memories whose lines in a prompt have at least so many tokens together."""
    chosen, length = list[Turn](), 0
    for turn in turns(_MEMORIES_MOST):
        if length >= least:
            return chosen
        line = prompt_line(turn.text, turn.speaker, turn.at)
        length += len(tokenizer.encode(f"- {line}\n"))
        chosen.append(turn)
    raise ValueError(f"{_MEMORIES_MOST} memories have fewer than {least} tokens")
