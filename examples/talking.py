"""The second half of the tour: a model whose answers depend on what is remembered.

The model is the tiny one that ships for tests: it recalls facts of its context, and knows nothing
by itself. It runs on vLLM, on this machine's CPU.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from memos_ray import MemOS, Settings
from memos_ray.config import DType, ModelSettings, TeachingSettings
from memos_ray.core.parameter import TeachingState
from memos_ray.gateway.chat.models import ChatAnswer
from memos_ray.serving.handles import ModelHandle
from memos_ray.testing.recall import tiny_recall_path
from memos_ray.testing.recall.world import RELATIONS, Fact, Split, draw_facts

_MODEL = "tiny-recall"
_NAMESPACE = "user:admin/people"


def talk(folder: Path, console: Console) -> None:
    """Starts a cluster with a model on a data folder, and shows all ways to one answer."""
    model = ModelSettings(
        name=_MODEL,
        path=tiny_recall_path(),
        dtype=DType.FLOAT32,
        context_tokens=1024,
        kv_bytes=32 << 20,
        shelf_bytes=32 << 20,
        adapter_slots=2,
        cpus=0,
    )
    # A tiny model learns in large steps.
    teaching = TeachingSettings(learning_rate=4e-3, passes=500, recall_min=0.8)
    with MemOS(data=folder, settings=Settings(models=(model,), teaching=teaching)) as memos:
        console.rule("a model joins, on the same data folder")
        _Talk(memos, console).run()


class _Talk:
    def __init__(self, memos: MemOS, console: Console) -> None:
        self._memos = memos
        self._facts = draw_facts(random.Random(5), 8, Split.HELD_OUT)
        self._table = Table(expand=True)
        for heading in ("how", "question", "answer", "right", "prompt", "not computed"):
            self._table.add_column(heading)
        self._console = console

    def run(self) -> None:
        """Asks the same question again and again, while the memory behind it changes its form."""
        memos, fact = self._memos, self._facts[0]
        memos.admin.create_namespace(_NAMESPACE, kind="user_private")
        report = memos.add([{"text": one.text} for one in self._facts], namespace=_NAMESPACE)
        ids = [result.id or "" for result in report.results]
        without = self._ask("without memory", fact, memory="off")
        text = self._ask("memory as text", fact)
        memos.convert(ids, _MODEL, namespace=_NAMESPACE)
        cached = self._ask("memory as a KV cache", fact)
        os.kill(asyncio.run(ModelHandle(_MODEL).status()).pid, signal.SIGKILL)
        restarted = self._ask("after SIGKILL of the replica", fact)
        value = next(one for one in RELATIONS[fact.relation].values if one != fact.value)
        changed = replace(fact, value=value)
        memos.update(ids[0], changed.text, namespace=_NAMESPACE, mode="overwrite")
        updated = self._ask("after the fact has changed", changed)
        self._teach(ids)
        learnt = self._ask("learnt: no memory in the prompt", changed)
        memos.delete(ids[0], namespace=_NAMESPACE, hard=True)
        forgotten = self._ask("after the fact is deleted", changed)
        self._console.print(self._table)
        right = [_right(one, fact) for one in (text, cached, restarted)]
        right += [_right(one, changed) for one in (updated, learnt)]
        wrong = [_right(without, fact), _right(forgotten, changed)]
        if not all(right) or any(wrong):
            raise SystemExit("an answer is not what the memory says")

    def _teach(self, ids: list[str]) -> None:
        """Has the model learn the memories; a minute or two on two cores."""
        adapters = self._memos.adapters
        lesson = adapters.teach(ids, _MODEL, namespace=_NAMESPACE)
        with self._console.status("the model learns …") as status:
            lesson = adapters.wait(
                lesson.id,
                namespace=_NAMESPACE,
                progress=lambda one: status.update(f"the model learns … {one.share:.0%}"),
            )
        if lesson.state is not TeachingState.LIVE:
            raise SystemExit(f"the lesson is {lesson.state}: {lesson.reason or lesson.report}")
        self._console.print(
            f"the model has learnt {len(lesson.memories)} memories in "
            f"{lesson.figures['train_s']:.0f} s; asked in new words it knows "
            f"{lesson.figures['recall']:.0%} of them, and knew "
            f"{lesson.figures['base_recall']:.0%} before"
        )

    def _ask(self, how: str, fact: Fact, memory: str = "read") -> ChatAnswer:
        answer = self._memos.chat(
            fact.question,
            _MODEL,
            namespaces=[_NAMESPACE],
            memory=memory,
            temperature=0.0,
            max_tokens=4,
        )
        usage = answer.usage
        self._table.add_row(
            how,
            fact.question,
            answer.text.strip(),
            "[green]✓[/green]" if _right(answer, fact) else "",
            f"{usage.prompt_tokens} tokens",
            f"{usage.cached_tokens} tokens",
        )
        return answer


def _right(answer: ChatAnswer, fact: Fact) -> bool:
    return answer.text.strip() == fact.answer
