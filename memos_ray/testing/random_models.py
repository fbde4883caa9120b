"""Models of any size with random weights: to time an engine, and to compare outputs exactly."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

_END, _START = "<|im_end|>", "<|im_start|>"
_CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class Family(StrEnum):
    """Architectures."""

    QWEN2 = "qwen2"
    QWEN3 = "qwen3"
    LLAMA = "llama"


_CLASSES = {
    Family.QWEN2: (Qwen2Config, Qwen2ForCausalLM),
    Family.QWEN3: (Qwen3Config, Qwen3ForCausalLM),
    Family.LLAMA: (LlamaConfig, LlamaForCausalLM),
}


@dataclass(frozen=True, slots=True)
class Size:
    """Dimensions of a model; the defaults give one of a few thousand weights."""

    hidden: int = 128
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    feed_forward: int = 256
    positions: int = 16_384


HUNDRED_MILLION = Size(hidden=1024, layers=8, heads=16, kv_heads=4, feed_forward=3072)
"""About a hundred million weights."""


def write_model(folder: Path, family: Family, size: Size = Size(), *, seed: int = 0) -> Path:
    """Writes a float32 model with its tokenizer, in Hugging Face's layout; returns the folder.

    The tokenizer is one of bytes with a few merges, so that it takes any text.
    """
    tokenizer = _tokenizer()
    config_class, model_class = _CLASSES[family]
    config = config_class(
        vocab_size=len(tokenizer),
        hidden_size=size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.kv_heads,
        head_dim=size.hidden // size.heads,
        intermediate_size=size.feed_forward,
        max_position_embeddings=size.positions,
        tie_word_embeddings=False,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        # Larger than usual, so that the answer depends on every token of the prompt.
        initializer_range=0.08,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = model_class(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_tokenizer(folder: Path) -> Path:
    """Writes the tokenizer of these models alone; returns the folder."""
    _tokenizer().save_pretrained(folder)
    return folder


def _tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2048,
        special_tokens=["<|endoftext|>", _START, _END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([__doc__ or "", _CHAT], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=_END,
        pad_token="<|endoftext|>",
        chat_template=_CHAT,
    )
