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

One request in ten is for the base model, so that batches are mixed.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import ray

from benchmarks.metrics import percentile
from benchmarks.ttft.subject import SALT, Subject, say
from memos_ray import MemOS
from memos_ray.config import Settings
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
class Heard:
    """One answer."""

    place: int | None
    question: str
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
            asyncio.run(_warmed())
            heard = {
                count: asyncio.run(_asked(made[:count], references[:count], users, per_user))
                for count in counts
            }
            deployment.end()
    judge = _Judge(subject, made)
    return [_figures(count, *found, judge) for count, found in heard.items()]


async def _warmed() -> None:
    """Has both replicas answer: they pay for memory and code that later answers find ready."""
    model = ModelHandle(_MODEL)
    await asyncio.gather(*[_answer(model, None, f"Who is {n}?", "", None) for n in range(16)])


async def _asked(
    made: Sequence[AdapterPayload], references: Sequence[Any], users: int, per_user: int
) -> tuple[list[Heard], float]:
    model = ModelHandle(_MODEL)

    async def user(number: int) -> list[Heard]:
        chosen = random.Random(1000 * len(made) + number)
        weights = [1 / (1 + place) for place in range(len(made))]
        found = []
        for turn in range(per_user):
            place: int | None = chosen.choices(range(len(made)), weights)[0]
            if (number + turn) % _BASE_SHARE == 0:
                place = None
            question = f"What is {chosen.randrange(20)}?"
            adapter = "" if place is None else made[place].manifest.digest
            reference = None if place is None else references[place]
            found.append(await _answer(model, place, question, adapter, reference))
        return found

    started = time.perf_counter()
    answers = await asyncio.gather(*map(user, range(users)))
    taken_s = time.perf_counter() - started
    say(f"multi_adapter: {len(made)} adapters done")
    return [one for each in answers for one in each], taken_s


async def _answer(
    model: ModelHandle, place: int | None, question: str, adapter: str, reference: Any
) -> Heard:
    request = ChatRequest(
        uuid4().hex,
        (ChatMessage("user", question),),
        Sampling(max_tokens=_ANSWER_TOKENS, temperature=0.0, ignore_eos=True),
        SALT,
        adapter=adapter,
    )
    started, first_s, said = time.perf_counter(), None, tuple[int, ...]()
    part = None
    async for part in model.chat(request, weights=reference):
        first_s = time.perf_counter() - started if first_s is None else first_s
        said += part.tokens
    assert part is not None and part.kv is not None and first_s is not None
    whole_s = time.perf_counter() - started
    return Heard(place, question, said, first_s, whole_s, part.kv.at_holder)


class _Judge:
    """Says what must be answered; each question to an adapter is computed once."""

    def __init__(self, subject: Subject, made: Sequence[AdapterPayload]) -> None:
        self._model = MergedModel(subject.folder)
        self._tokenizer = ModelTokenizer(subject.folder)
        self._made = made
        self._known: dict[tuple[int | None, str], tuple[int, ...]] = {}

    def right(self, one: Heard) -> bool:
        asked = one.place, one.question
        if asked not in self._known:
            text = self._tokenizer.render((ChatMessage("user", one.question),))
            adapter = None if one.place is None else self._made[one.place]
            self._known[asked] = self._model.answer(
                self._tokenizer.encode(text), adapter, _ANSWER_TOKENS
            )
        return self._known[asked] == one.tokens


def _figures(count: int, heard: Sequence[Heard], taken_s: float, judge: _Judge) -> dict[str, Any]:
    adapted = [one for one in heard if one.place is not None]
    hits = sum(bool(one.at_holder) for one in adapted)
    return {
        "adapters": count,
        "replicas": _REPLICAS,
        "slots": _SLOTS,
        "held_per_replica": _HELD,
        "used": len({one.place for one in adapted}),
        "requests": len(heard),
        "requests_s": round(len(heard) / taken_s, 1),
        "ttft_p50_ms": _ms([one.first_s for one in heard], 0.5),
        "ttft_p95_ms": _ms([one.first_s for one in heard], 0.95),
        "answer_p95_ms": _ms([one.whole_s for one in heard], 0.95),
        "hit_rate": round(hits / len(adapted), 3) if adapted else None,
        "wrong_answers": sum(not judge.right(one) for one in heard),
    }


def _ms(seconds: Sequence[float], share: float) -> float:
    return round(1e3 * percentile(seconds, share), 1)
