"""A Qwen3 of 0.8 million parameters, and first weights that soon learn to look things up."""

from __future__ import annotations

from typing import Any

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from memos_ray.testing.recall.tokenizer import BEGIN, END, PAD, vocabulary

WIDTH = 128
LAYERS = 4
HEADS = 4
HEAD_DIM = WIDTH // HEADS
"""32: what vLLM's attention on CPUs needs a multiple of."""

MAX_TOKENS = 4096


def new_model() -> Any:
    """Makes a `Qwen3ForCausalLM` with first weights drawn from torch's global generator.

    The weights begin as if attention had been learnt (mimetic initialisation, Trockman and Kolter
    2023): in each layer two heads look for the same token, one is random and one looks around
    itself; what a head reads it passes on unchanged. Embeddings have a standard deviation of 1.
    """
    ids = vocabulary()
    config = Qwen3Config(
        vocab_size=len(ids),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        head_dim=HEAD_DIM,
        max_position_embeddings=MAX_TOKENS,
        tie_word_embeddings=True,
        initializer_range=0.05,
        bos_token_id=ids[BEGIN],
        eos_token_id=ids[END],
        pad_token_id=ids[PAD],
    )
    model = Qwen3ForCausalLM(config)
    with torch.no_grad():
        _shape(model)
    return model


def _shape(model: Any) -> None:
    embedding = model.model.embed_tokens.weight
    embedding.normal_(0, 1)
    model.model.norm.weight.fill_(0.12)  # keeps the first logits small
    shared = torch.randn(WIDTH)
    shared /= shared.norm()
    embedding += 0.5 * WIDTH**0.5 * shared
    but_shared = torch.eye(WIDTH) - torch.outer(shared, shared)
    for layer in model.model.layers:
        attention = layer.self_attn
        attention.q_norm.weight.fill_(1.5)
        attention.k_norm.weight.fill_(1.5)
        query, key = (torch.randn(2, WIDTH, WIDTH) / WIDTH**0.5).unbind()
        for head in range(HEADS - 2):
            rows = slice(head * HEAD_DIM, (head + 1) * HEAD_DIM)
            query[rows] = query[rows] @ but_shared
            key[rows] = query[rows]
        last = slice(WIDTH - HEAD_DIM, WIDTH)
        nearby = torch.outer(torch.ones(HEAD_DIM), shared)
        query[last] = nearby + 0.1 * query[last]
        key[last] = nearby + 0.1 * key[last]
        attention.q_proj.weight.copy_(query)
        attention.k_proj.weight.copy_(key)
        rotation = torch.linalg.qr(torch.randn(WIDTH, WIDTH))[0]
        attention.v_proj.weight.copy_(rotation)
        attention.o_proj.weight.copy_(0.5 * rotation.T)
