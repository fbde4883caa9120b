"""Many adapters over two replicas under Ray Serve: rate, latency, hits, and whether all were right.

For each number of adapters, users ask one after another, each time for an adapter chosen as Zipf
has it (the n-th most popular is asked for 1/n as often as the first). Adapters lie in Ray's object
store; a request names its adapter and brings the reference. Reported:

    requests_s       answers a second, all users together
    ttft_p50_ms, ttft_p95_ms    from the request to the first token, waiting included
    answer_p95_ms    to the last token
    hit_rate         of the requests whose replica held the adapter when they came
    wrong_answers    of those that differ from what transformers computes with that adapter's
                     weights merged into the model's; the content of every answer is compared

    path             the same requests to plain vLLM: two engines with as many slots and as many
                     adapters in host memory, which load them from folders in the page cache; each
                     adapter's requests go to one of them. No server is between: times are taken
                     beside the engine

One request in ten is for the base model, so that batches are mixed. Plain vLLM's arithmetic on CPUs
answers some of those wrongly (see `memos_ray.serving.lora.cpu_arithmetic`).
"""

from __future__ import annotations

import asyncio
import logging
import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import ray

from benchmarks.lora.path_replica import PathReplica, PathSettings, write_folder
from benchmarks.metrics import percentile
from benchmarks.ttft.subject import SALT, Subject, say
from memos_ray import MemOS
from memos_ray.config import ModelSettings, Settings
from memos_ray.core.generation import ChatMessage, ChatRequest, Sampling
from memos_ray.core.parameter import AdapterPayload
from memos_ray.serving import deployment
from memos_ray.serving.handles import ModelHandle
from memos_ray.serving.model_files import layer_shapes, weights_digest
from memos_ray.serving.tokenizer import ModelTokenizer
from memos_ray.testing.merged_model import MergedModel
from memos_ray.testing.random_adapters import random_adapter

_MODEL = "bench"
_REPLICAS = 2
_SLOTS = 4
_RANK = 8
_HELD = 32
_ANSWER_TOKENS = 4
_BASE_SHARE = 10
_PROMPT_TOKENS_MAX = 128


@dataclass(frozen=True, slots=True)
class Asked:
    """A question to an adapter, by its place, or to the base model."""

    place: int | None
    question: str


@dataclass(frozen=True, slots=True)
class Heard:
    """One answer; whether the replica held its adapter is known of our own only."""

    asked: Asked
    tokens: tuple[int, ...]
    first_s: float
    whole_s: float
    at_holder: bool | None


def measure(
    subject: Subject, counts: Sequence[int], users: int, per_user: int
) -> list[dict[str, Any]]:
    """Returns the figures by number of adapters."""
    base, shapes = weights_digest(subject.folder), layer_shapes(subject.folder)
    made = [
        random_adapter(base, shapes, seed=seed, rank=_RANK, std=0.1) for seed in range(max(counts))
    ]
    served = subject.settings(
        _PROMPT_TOKENS_MAX,
        name=_MODEL,
        replicas_min=_REPLICAS,
        replicas_max=_REPLICAS,
        kv_bytes=64 << 20,
        waiting_max=4 * users,
        adapter_slots=_SLOTS,
        adapter_rank_max=_RANK,
        adapter_host_bytes=_HELD * made[0].data.size,
    )
    total = sum(payload.data.size for payload in made)
    plans = {count: _plans(count, users, per_user) for count in counts}
    with tempfile.TemporaryDirectory(prefix="memos-bench-") as folder:
        settings = Settings.model_validate(
            {
                "data": Path(folder),
                "vectors": {"enabled": False},
                "object_store_bytes": max(128 << 20, 2 * total),
            }
        )
        with MemOS(data=settings.data, settings=settings):
            deployment.start([served])
            references = [ray.put(payload) for payload in made]
            model = ModelHandle(_MODEL)
            asyncio.run(_warmed(model))
            heard = {
                count: asyncio.run(_served(model, plans[count], made, references))
                for count in counts
            }
            deployment.end()
    plain = _by_path(subject, served, made, plans)
    judge = _Judge(subject, made)
    return [
        _setting(count) | _figures(*heard[count], judge) | {"path": _figures(*plain[count], judge)}
        for count in counts
    ]


def _plans(count: int, users: int, per_user: int) -> list[list[Asked]]:
    """Returns what each user asks, one after another."""
    plans = []
    for number in range(users):
        chosen = random.Random(1000 * count + number)
        weights = [1 / (1 + place) for place in range(count)]
        asked = []
        for turn in range(per_user):
            place: int | None = chosen.choices(range(count), weights)[0]
            if (number + turn) % _BASE_SHARE == 0:
                place = None
            asked.append(Asked(place, f"What is {chosen.randrange(20)}?"))
        plans.append(asked)
    return plans


async def _warmed(model: ModelHandle) -> None:
    """Has both replicas answer: they pay for memory and code that later answers find ready."""
    asked = [Asked(None, f"Who is {n}?") for n in range(16)]
    await asyncio.gather(*[_answer(model, one, (), ()) for one in asked])


async def _served(
    model: ModelHandle,
    plans: Sequence[Sequence[Asked]],
    made: Sequence[AdapterPayload],
    references: Sequence[Any],
) -> tuple[list[Heard], float]:
    return await _timed(plans, lambda one: _answer(model, one, made, references))


async def _timed(
    plans: Sequence[Sequence[Asked]], answer: Callable[[Asked], Awaitable[Heard]]
) -> tuple[list[Heard], float]:
    """Has all users ask; returns what they heard, and the seconds until the last heard it."""

    async def user(plan: Sequence[Asked]) -> list[Heard]:
        return [await answer(one) for one in plan]

    started = time.perf_counter()
    answers = await asyncio.gather(*map(user, plans))
    taken_s = time.perf_counter() - started
    say(f"multi_adapter: {len({one.place for plan in plans for one in plan})} adapters done")
    return [one for each in answers for one in each], taken_s


async def _answer(
    model: ModelHandle, asked: Asked, made: Sequence[AdapterPayload], references: Sequence[Any]
) -> Heard:
    place = asked.place
    request = ChatRequest(
        uuid4().hex,
        _messages(asked),
        Sampling(max_tokens=_ANSWER_TOKENS, temperature=0.0, ignore_eos=True),
        SALT,
        adapter="" if place is None else made[place].manifest.digest,
    )
    started, first_s, said = time.perf_counter(), None, tuple[int, ...]()
    part = None
    async for part in model.chat(request, weights=None if place is None else references[place]):
        first_s = time.perf_counter() - started if first_s is None else first_s
        said += part.tokens
    assert part is not None and part.kv is not None and first_s is not None
    whole_s = time.perf_counter() - started
    return Heard(asked, said, first_s, whole_s, part.kv.at_holder)


def _by_path(
    subject: Subject,
    served: ModelSettings,
    made: Sequence[AdapterPayload],
    plans: Mapping[int, Sequence[Sequence[Asked]]],
) -> dict[int, tuple[list[Heard], float]]:
    """Asks plain vLLM the same."""
    settings = PathSettings(
        subject.folder,
        subject.dtype.value,
        served.context_tokens,
        _RANK,
        slots=_SLOTS,
        held=_HELD,
        kv_bytes=served.kv_bytes,
    )
    ray.init(
        address="local",
        num_cpus=_REPLICAS,
        num_gpus=0,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.WARNING,
    )
    try:
        with tempfile.TemporaryDirectory(prefix="memos-bench-") as name:
            folders = [write_folder(Path(name) / f"adapter{n}", one) for n, one in enumerate(made)]
            replicas = [
                ray.remote(num_cpus=1)(PathReplica).remote(settings) for _ in range(_REPLICAS)
            ]
            tokenizer = ModelTokenizer(subject.folder)
            asyncio.run(_warmed_paths(replicas, tokenizer))
            return {
                count: asyncio.run(
                    _timed(plan, lambda one: _path_answer(replicas, tokenizer, one, folders))
                )
                for count, plan in plans.items()
            }
    finally:
        ray.shutdown()


async def _warmed_paths(replicas: Sequence[Any], tokenizer: ModelTokenizer) -> None:
    for replica in replicas:
        for number in range(8):
            prompt = _prompt(tokenizer, Asked(None, f"Who is {number}?"))
            await replica.answer.remote(prompt, None, _ANSWER_TOKENS)


async def _path_answer(
    replicas: Sequence[Any], tokenizer: ModelTokenizer, asked: Asked, folders: Sequence[Path]
) -> Heard:
    place = asked.place
    chosen = random.randrange(_REPLICAS) if place is None else place % _REPLICAS
    said = await replicas[chosen].answer.remote(
        _prompt(tokenizer, asked), None if place is None else folders[place], _ANSWER_TOKENS
    )
    return Heard(asked, said.tokens, said.first_s, said.whole_s, None)


def _messages(asked: Asked) -> tuple[ChatMessage, ...]:
    return (ChatMessage("user", asked.question),)


def _prompt(tokenizer: ModelTokenizer, asked: Asked) -> tuple[int, ...]:
    return tokenizer.encode(tokenizer.render(_messages(asked)))


class _Judge:
    """Says what must be answered; each question to an adapter is computed once."""

    def __init__(self, subject: Subject, made: Sequence[AdapterPayload]) -> None:
        self._model = MergedModel(subject.folder)
        self._tokenizer = ModelTokenizer(subject.folder)
        self._made = made
        self._known: dict[Asked, tuple[int, ...]] = {}

    def right(self, one: Heard) -> bool:
        asked = one.asked
        if asked not in self._known:
            adapter = None if asked.place is None else self._made[asked.place]
            prompt = _prompt(self._tokenizer, asked)
            self._known[asked] = self._model.answer(prompt, adapter, _ANSWER_TOKENS)
        return self._known[asked] == one.tokens


def _setting(count: int) -> dict[str, Any]:
    return {
        "adapters": count,
        "replicas": _REPLICAS,
        "slots": _SLOTS,
        "held_per_replica": _HELD,
    }


def _figures(heard: Sequence[Heard], taken_s: float, judge: _Judge) -> dict[str, Any]:
    adapted = [one for one in heard if one.asked.place is not None]
    known = [one.at_holder for one in adapted if one.at_holder is not None]
    made = {
        "used": len({one.asked.place for one in adapted}),
        "requests": len(heard),
        "requests_s": round(len(heard) / taken_s, 1),
        "ttft_p50_ms": _ms([one.first_s for one in heard], 0.5),
        "ttft_p95_ms": _ms([one.first_s for one in heard], 0.95),
        "answer_p95_ms": _ms([one.whole_s for one in heard], 0.95),
        "wrong_answers": sum(not judge.right(one) for one in heard),
    }
    return made | ({"hit_rate": round(sum(known) / len(known), 3)} if known else {})


def _ms(seconds: Sequence[float], share: float) -> float:
    return round(1e3 * percentile(seconds, share), 1)
