"""How well a model recalls: exact match of its greedy answers, on facts that no training has seen.

python -m memos_ray.testing.recall.evaluation --model FOLDER
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from memos_ray.testing.recall import tiny_recall_path
from memos_ray.testing.recall.dataset import Conversation, Mix, Turn, changed, draw_group, prose
from memos_ray.testing.recall.world import NOTED, UNKNOWN, Split, draw_facts, names

_NONE = Mix(absent=0.0, updated=0.0, told=0.0)
_BATCH = 25
_ANSWER_TOKENS = 3


@dataclass(frozen=True, slots=True)
class Case:
    """A conversation that ends in a question, and the right answer to it."""

    messages: list[dict[str, str]]
    answer: str


@dataclass(frozen=True, slots=True)
class Recaller:
    """A model and its tokenizer, to ask questions."""

    model: Any
    tokenizer: Any

    @classmethod
    def load(cls, folder: Path) -> Recaller:
        """Loads both from a folder, in float32."""
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        return cls(model.eval(), AutoTokenizer.from_pretrained(folder))

    def answers(self, conversations: Sequence[list[dict[str, str]]]) -> list[str]:
        """Answers many conversations, each greedily: at most three tokens, or up to the end."""
        found: list[str] = []
        for start in range(0, len(conversations), _BATCH):
            found += self._batch(conversations[start : start + _BATCH])
        return found

    def accuracy(self, cases: Sequence[Case]) -> float:
        """Returns the share of cases that are answered exactly."""
        answers = self.answers([case.messages for case in cases])
        right = [answer == case.answer for answer, case in zip(answers, cases, strict=True)]
        return sum(right) / len(right)

    def _batch(self, conversations: Sequence[list[dict[str, str]]]) -> list[str]:
        prompts = [
            self.tokenizer.apply_chat_template(each, tokenize=False, add_generation_prompt=True)
            for each in conversations
        ]
        inputs = self.tokenizer(
            prompts,
            add_special_tokens=False,
            padding=True,
            padding_side="left",
            return_tensors="pt",
            return_token_type_ids=False,
        )
        out = self.model.generate(**inputs, max_new_tokens=_ANSWER_TOKENS, do_sample=False)
        answers = out[:, inputs["input_ids"].shape[1] :]
        texts = self.tokenizer.batch_decode(answers, skip_special_tokens=True)
        return [str(text) for text in texts]


def recall_cases(count: int, facts: int, seed: int = 0, mix: Mix = _NONE) -> list[Case]:
    """Draws questions for one of so many facts in the context."""
    rng = random.Random(seed)
    cases = []
    for _ in range(count):
        drawn = draw_group(rng, facts, names(), Split.HELD_OUT)
        cases.append(_last(prose(rng, drawn, 1, Split.HELD_OUT, mix)))
    return cases


def absent_cases(count: int, facts: int, seed: int = 0) -> list[Case]:
    """Draws questions whose answer is nowhere; the name or the relation may be."""
    return recall_cases(count, facts, seed, replace(_NONE, absent=1.0))


def updated_cases(count: int, facts: int, seed: int = 0) -> list[Case]:
    """Draws questions for a fact that the context states twice, first with another value."""
    rng = random.Random(seed)
    cases = []
    for _ in range(count):
        drawn = draw_facts(rng, facts + 1)
        new = drawn.pop()
        old = changed(rng, new, Split.HELD_OUT)
        first, second = sorted(rng.sample(range(facts + 1), 2)) if facts else (0, 0)
        drawn.insert(first, old)
        drawn.insert(second + 1, new)
        lines = [f"- {rng.choice(fact.statements())}" for fact in drawn]
        system = {"role": "system", "content": "\n".join(["Memories:", *lines])}
        question = {"role": "user", "content": rng.choice(new.questions())}
        cases.append(Case([system, question], new.answer))
    return cases


def told_cases(count: int, facts: int, seed: int = 0) -> list[Case]:
    """Draws questions for a fact of which the user told, turns before."""
    rng = random.Random(seed)
    cases = []
    for _ in range(count):
        drawn = draw_facts(rng, facts)
        turns = [Turn(rng.choice(fact.statements()), NOTED) for fact in drawn]
        asked = rng.choice(drawn)
        turns.append(Turn(rng.choice(asked.questions()), asked.answer))
        cases.append(_last(Conversation("", tuple(turns))))
    return cases


def without_context(count: int, seed: int = 0) -> list[Case]:
    """Draws questions for facts that stand nowhere; the answer is the fact's all the same."""
    rng = random.Random(seed)
    cases = []
    for fact in draw_facts(rng, count):
        message = {"role": "user", "content": rng.choice(fact.questions())}
        cases.append(Case([message], fact.answer))
    return cases


def report(recaller: Recaller, count: int = 200) -> dict[str, float]:
    """Measures everything there is to measure, `count` questions each."""
    found = {}
    for facts in (1, 2, 4, 8, 16, 32, 48):
        found[f"recall of {facts} facts"] = recaller.accuracy(recall_cases(count, facts))
    long = replace(_NONE, long=1.0)
    found["recall of 16 facts, 20 to 120 lines between"] = recaller.accuracy(
        recall_cases(count, 16, mix=long)
    )
    found["recall of 4 facts that the user told"] = recaller.accuracy(told_cases(count, 4))
    for facts in (0, 4, 16):
        found[f"later statement wins, {facts} other facts"] = recaller.accuracy(
            updated_cases(count, facts)
        )
    for facts in (0, 1, 4, 8, 16):
        found[f"unknown when absent, {facts} other facts"] = recaller.accuracy(
            absent_cases(count, facts)
        )
    bare = without_context(count)
    found["right value without context"] = recaller.accuracy(bare)
    found["unknown without context"] = recaller.accuracy(
        [replace(case, answer=UNKNOWN) for case in bare]
    )
    return found


def _last(conversation: Conversation) -> Case:
    *messages, answer = conversation.messages()
    return Case(messages, answer["content"])


def main() -> None:
    """Prints the report of a model as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=tiny_recall_path())
    parser.add_argument("--count", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = report(Recaller.load(options.model), options.count)
    print(json.dumps(found, indent=2))  # noqa: T201


if __name__ == "__main__":
    main()
