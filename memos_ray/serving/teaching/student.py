"""A model that is taught: the base with at most one adapter, asked in batches."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from peft import (
    LoraConfig,
    get_peft_model,
    get_peft_model_state_dict,
    set_peft_model_state_dict,
)
from transformers import AutoModelForCausalLM

from memos_ray.core.generation import ChatMessage
from memos_ray.core.parameter import (
    AdapterLimits,
    AdapterPayload,
    TensorSpec,
    check,
    pack_tensors,
    read_tensors,
)
from memos_ray.core.teaching import Lesson
from memos_ray.errors import InvalidInputError
from memos_ray.serving import model_files
from memos_ray.serving.tokenizer import ModelTokenizer

IGNORED = -100
"""In targets: a place that is not graded."""

_BATCH = 64
# A prompt much longer than the others would fill its batch with padding.
_SPREAD = 1.6
_RANK_MAX = 512
_BYTES_MAX = 1 << 30


@dataclass(frozen=True, slots=True)
class Example:
    """Tokens of a prompt, and of the answer behind it."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]


@contextmanager
def computing(threads: int) -> Iterator[None]:
    """Limits torch to so many threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Student:
    """A model of a folder, in float32 on CPUs and in its own element type elsewhere."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        self.base = model_files.weights_digest(folder)
        self._shapes = model_files.layer_shapes(folder)
        self._tokenizer = ModelTokenizer(folder)
        self.device = torch.device(device)
        self._model = load_base(folder, self.device)
        self._adapted = False

    @property
    def parameters(self) -> dict[str, Any]:
        """The adapter's parameters that are trained, by their names in the model."""
        return {name: each for name, each in self._model.named_parameters() if each.requires_grad}

    def learn(self, rank: int, alpha: float, targets: Sequence[str], seed: int) -> None:
        """Gives the model a new adapter, which does nothing yet.

        Raises:
            InvalidInputError: the model has an adapter already, or no such layers.
        """
        layers = {name.rpartition(".")[2] for name in self._shapes}
        if missing := sorted(set(targets) - layers):
            raise InvalidInputError("the model has no such layers", layers=missing)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self._adapt(rank, alpha, targets)

    def use(self, payload: AdapterPayload) -> None:
        """Gives the model an adapter.

        Raises:
            InvalidInputError: the model has one already, or this one does not fit.
        """
        check(payload, AdapterLimits(self.base, self._shapes, _RANK_MAX, _BYTES_MAX))
        manifest = payload.manifest
        self._adapt(manifest.rank, manifest.alpha, manifest.targets)
        set_peft_model_state_dict(self._model, torch_tensors(payload))

    def packed(self) -> npt.NDArray[np.uint8]:
        """Returns the adapter as a safetensors file."""
        return packed(get_peft_model_state_dict(self._model))

    @contextmanager
    def as_base(self) -> Iterator[None]:
        """Leaves the adapter out for a while."""
        if not self._adapted:
            yield
            return
        with self._model.disable_adapter():
            yield

    def prompt(self, messages: Sequence[ChatMessage]) -> tuple[int, ...]:
        """Returns the tokens of a conversation up to where the model answers."""
        return self._tokenizer.encode(self._tokenizer.render(self._plain(messages)))

    def example(self, lesson: Lesson) -> Example:
        """Returns a lesson in tokens, the end of the answer's turn included.

        Args:
            lesson: one with an answer.
        """
        answer = ChatMessage("assistant", lesson.answer or "")
        messages = self._plain([*lesson.messages, answer])
        prompt = self._tokenizer.render(messages[:-1])
        whole = self._tokenizer.render(messages, answered=True)
        if whole.startswith(prompt):
            said = self._tokenizer.encode(whole[len(prompt) :])
        else:
            # Templates that begin an answer otherwise when it is no longer the last.
            end = () if self._tokenizer.end is None else (self._tokenizer.end,)
            said = (*self._tokenizer.encode(messages[-1].text), *end)
        return Example(self._tokenizer.encode(prompt), said)

    def answers(self, prompts: Sequence[tuple[int, ...]], tokens: int) -> list[tuple[int, ...]]:
        """Answers each prompt greedily, with at most so many tokens, the end of turn included."""
        found: dict[int, tuple[int, ...]] = {}
        for places in of_like_length([len(one) for one in prompts]):
            said = self._generated([prompts[place] for place in places], tokens)
            found.update(zip(places, said, strict=True))
        return [found[place] for place in range(len(prompts))]

    def texts(self, prompts: Sequence[tuple[int, ...]], tokens: int) -> list[str]:
        """Answers each prompt greedily, as text without control tokens."""
        return [self._tokenizer.words(each).strip() for each in self.answers(prompts, tokens)]

    def losses(self, examples: Sequence[Example]) -> tuple[torch.Tensor, int]:
        """Returns the sum of the losses of the answers' tokens, and the number of these."""
        inputs, targets = self._padded(examples)
        hidden = self._decoder().model(**inputs).last_hidden_state[:, :-1]
        wanted = targets[:, 1:]
        graded = wanted != IGNORED
        logits = self._decoder().lm_head(hidden[graded]).float()
        loss = torch.nn.functional.cross_entropy(logits, wanted[graded], reduction="sum")
        return loss, int(graded.sum())

    def perplexity(self, examples: Sequence[Example]) -> float:
        """Returns the perplexity of the answers."""
        total, count = 0.0, 0
        with torch.no_grad():
            for places in of_like_length([len(one.prompt) + len(one.answer) for one in examples]):
                loss, tokens = self.losses([examples[place] for place in places])
                total, count = total + loss.item(), count + tokens
        return math.exp(min(total / count, 700.0)) if count else math.nan

    def _adapt(self, rank: int, alpha: float, targets: Sequence[str]) -> None:
        if self._adapted:
            raise InvalidInputError("the model has an adapter already")
        self._model = get_peft_model(self._model, lora_config(rank, alpha, targets)).eval()
        self._adapted = True

    def _decoder(self) -> Any:
        return self._model.get_base_model() if self._adapted else self._model

    def _plain(self, messages: Sequence[ChatMessage]) -> list[ChatMessage]:
        return [ChatMessage(one.role, self._tokenizer.plain(one.text)) for one in messages]

    def _generated(self, prompts: Sequence[tuple[int, ...]], tokens: int) -> list[tuple[int, ...]]:
        longest = max(map(len, prompts))
        ids = torch.zeros(len(prompts), longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, longest - len(prompt) :] = torch.tensor(prompt)
            mask[row, longest - len(prompt) :] = 1
        end = self._tokenizer.end
        with torch.no_grad():
            out = self._model.generate(
                input_ids=ids.to(self.device),
                attention_mask=mask.to(self.device),
                max_new_tokens=tokens,
                do_sample=False,
                pad_token_id=0 if end is None else end,
            )
        found = []
        for row in out[:, longest:].tolist():
            stop = row.index(end) + 1 if end in row else len(row)
            found.append(tuple(row[:stop]))
        return found

    def _padded(self, examples: Sequence[Example]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        longest = max(len(one.prompt) + len(one.answer) for one in examples)
        ids = torch.zeros(len(examples), longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        targets = torch.full_like(ids, IGNORED)
        for row, one in enumerate(examples):
            begin, end = len(one.prompt), len(one.prompt) + len(one.answer)
            ids[row, :end] = torch.tensor(one.prompt + one.answer)
            mask[row, :end] = 1
            targets[row, begin:end] = torch.tensor(one.answer)
        return (
            {"input_ids": ids.to(self.device), "attention_mask": mask.to(self.device)},
            targets.to(self.device),
        )


def of_like_length(lengths: Sequence[int]) -> list[list[int]]:
    """Divides things into batches of about one length; returns their places."""
    parts: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lambda each: lengths[each]):
        last = parts[-1] if parts else []
        if last and len(last) < _BATCH and lengths[place] <= _SPREAD * lengths[last[0]]:
            last.append(place)
        else:
            parts.append([place])
    return parts


def load_base(folder: Path, device: torch.device) -> Any:
    """Loads a model for inference."""
    dtype = torch.float32 if device.type == "cpu" else "auto"
    loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True)
    return loaded.to(device).eval()


def lora_config(rank: int, alpha: float, targets: Sequence[str]) -> LoraConfig:
    """Describes an adapter to PEFT, which says that alpha is whole and computes with any."""
    return LoraConfig(
        r=rank,
        lora_alpha=alpha,
        target_modules=list(targets),
        lora_dropout=0.0,
        bias="none",
        task_type="CAUSAL_LM",
    )


def packed(tensors: Mapping[str, torch.Tensor]) -> npt.NDArray[np.uint8]:
    """Returns tensors as a safetensors file in float32."""
    numbers = {
        name: each.detach().to("cpu", torch.float32).numpy() for name, each in tensors.items()
    }
    return pack_tensors(
        (TensorSpec(name, "F32", each.shape), each) for name, each in numbers.items()
    )


def torch_tensors(payload: AdapterPayload) -> dict[str, torch.Tensor]:
    """Returns an adapter's numbers as float32, by the names that PEFT gives them in files."""
    found = {}
    for spec, tensor in read_tensors(payload.data):
        numbers = torch.from_numpy(tensor.copy())
        if spec.dtype == "BF16":
            numbers = numbers.view(torch.bfloat16)
        found[spec.name] = numbers.float()
    return found
