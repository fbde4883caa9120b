"""Writes the int8 ONNX graph of a MiniLM encoder from its published float weights.

Runs once per machine, as a program of its own (`python -P minilm_graph.py WEIGHTS OUT`), so that
the caller never carries the float weights or the `onnx` package. The graph is written node by
node instead of being traced from a torch module: no deep-learning framework is needed, the bytes
are the same on every machine, and the layout is the one that ONNX Runtime executes fastest.

The network is BERT (Devlin et al. 2018) with 6 layers of width 384, followed by the mean over the
unmasked tokens and L2 normalisation (Reimers & Gurevych 2019), both inside the graph.

Quantisation, symmetric and per output channel:
  - word embeddings: int8 with one scale a row;
  - linear layers: 7-bit weights in int8, activations quantised to uint8 when the graph runs. The
    eighth bit is left unused because processors without VNNI saturate 16-bit partial sums of
    uint8 x int8 products, which would make vectors differ from machine to machine.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Mapping

# Part of the digest of the embedding space: raise it whenever a change here changes vectors.
RECIPE = "w7-per-channel/e8-per-row/a8-dynamic/1"
DIM = 384
MAX_TOKENS = 256

_LAYERS = 6
_HEADS = 12
_EPSILON = 1e-12
_CONTRIB = "com.microsoft"
_LINEAR_MAX = 63
_EMBEDDING_MAX = 127

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]


def read_safetensors(path: Path) -> dict[str, Floats]:
    """Reads the float32 tensors of a safetensors file as views on a memory map.

    The format: a little-endian u64 with the length of a JSON header, the header, then raw data.
    """
    raw = np.memmap(path, dtype=np.uint8, mode="r")
    header_bytes = int(raw[:8].view("<u8")[0])
    header = json.loads(raw[8 : 8 + header_bytes].tobytes())
    tensors: dict[str, Floats] = {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            begin, end = (8 + header_bytes + offset for offset in entry["data_offsets"])
            tensors[name] = np.frombuffer(raw[begin:end].tobytes(), "<f4").reshape(entry["shape"])
    return tensors


def quantise_rows(matrix: Floats, largest: int) -> tuple[npt.NDArray[np.int8], Floats]:
    """Quantises each row of `[n, m]` symmetrically; returns int8 `[n, m]` and scales `[n]`."""
    scales = np.maximum(np.abs(matrix).max(axis=1), 1e-12) / np.float32(largest)
    rounded = np.rint(matrix / scales[:, None])
    return np.clip(rounded, -largest, largest).astype(np.int8), scales.astype(np.float32)


class _Graph:
    """Collects nodes and constants; every method returns the name of the value it produced."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, value: Array) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(
        self, op: str, inputs: list[str], output: str, domain: str = "", **attributes: object
    ) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(op, inputs, [output], domain=domain, **attributes))
        return output

    def linear(self, x: str, weight: Floats, bias: Floats, output: str) -> str:
        """`x [batch, tokens, in] @ weight.T + bias` for `weight [out, in]`, in int8."""
        quantised, scales = quantise_rows(weight, _LINEAR_MAX)
        inputs = [
            x,
            self.constant(f"{output}.weight", quantised.T),
            self.constant(f"{output}.scale", scales),
            self.constant(f"{output}.zero", np.zeros(len(scales), np.int8)),
            self.constant(f"{output}.bias", bias),
        ]
        return self.node("DynamicQuantizeMatMul", inputs, output, _CONTRIB)

    def layer_norm(self, x: str, weights: Mapping[str, Floats], prefix: str, output: str) -> str:
        gain = self.constant(f"{output}.gain", weights[f"{prefix}.weight"])
        shift = self.constant(f"{output}.shift", weights[f"{prefix}.bias"])
        return self.node("LayerNormalization", [x, gain, shift], output, axis=-1, epsilon=_EPSILON)


def _embeddings(graph: _Graph, weights: Mapping[str, Floats]) -> str:
    """Word, position and (constant) segment embeddings, `[batch, tokens, 384]`."""
    words, scales = quantise_rows(weights["embeddings.word_embeddings.weight"], _EMBEDDING_MAX)
    places = weights["embeddings.position_embeddings.weight"][:MAX_TOKENS]
    places = places + weights["embeddings.token_type_embeddings.weight"][0]
    rows = graph.node("Gather", [graph.constant("words", words), "input_ids"], "word_rows")
    rows = graph.node("Cast", [rows], "word_floats", to=1)
    scale = graph.constant("words.scale", scales[:, None])
    scale = graph.node("Gather", [scale, "input_ids"], "word_scales")
    rows = graph.node("Mul", [rows, scale], "word_vectors")
    length = graph.node("Shape", ["input_ids"], "length", start=1, end=2)
    zero = graph.constant("zero", np.zeros(1, np.int64))
    place = graph.node("Slice", [graph.constant("places", places), zero, length], "place_vectors")
    summed = graph.node("Add", [rows, place], "embedded")
    return graph.layer_norm(summed, weights, "embeddings.LayerNorm", "layer0")


def _layer(graph: _Graph, weights: Mapping[str, Floats], x: str, mask: str, index: int) -> str:
    """One post-norm transformer layer, `[batch, tokens, 384]` in and out."""
    from onnx import helper

    prefix, tag = f"encoder.layer.{index}", f"layer{index}"
    parts = [f"{prefix}.attention.self.{part}" for part in ("query", "key", "value")]
    packed = graph.linear(
        x,
        np.concatenate([weights[f"{part}.weight"] for part in parts]),
        np.concatenate([weights[f"{part}.bias"] for part in parts]),
        f"{tag}.qkv",
    )
    query, key, value = (f"{tag}.{part}" for part in ("query", "key", "value"))
    graph.nodes.append(
        helper.make_node("Split", [packed], [query, key, value], axis=2, num_outputs=3)
    )
    attended = graph.node(
        "MultiHeadAttention",
        [query, key, value, "", mask],
        f"{tag}.attended",
        _CONTRIB,
        num_heads=_HEADS,
    )

    def dense(source: str, name: str, output: str) -> str:
        full = f"{prefix}.{name}"
        return graph.linear(source, weights[f"{full}.weight"], weights[f"{full}.bias"], output)

    mixed = dense(attended, "attention.output.dense", f"{tag}.mixed")
    residual = graph.node("Add", [mixed, x], f"{tag}.residual")
    middle = graph.layer_norm(
        residual, weights, f"{prefix}.attention.output.LayerNorm", f"{tag}.middle"
    )
    wide = dense(middle, "intermediate.dense", f"{tag}.wide")
    active = graph.node("Gelu", [wide], f"{tag}.active", _CONTRIB)
    narrow = dense(active, "output.dense", f"{tag}.narrow")
    residual = graph.node("Add", [narrow, middle], f"{tag}.residual2")
    return graph.layer_norm(residual, weights, f"{prefix}.output.LayerNorm", f"layer{index + 1}")


def build(weights: Mapping[str, Floats]) -> bytes:
    """Builds the serialised ONNX model.

    Inputs: `input_ids` and `attention_mask`, int64 `[batch, tokens]`. Output: `embedding`, float32
    `[batch, 384]` of unit length.
    """
    from onnx import TensorProto, helper

    graph = _Graph()
    x = _embeddings(graph, weights)
    mask = graph.node("Cast", ["attention_mask"], "mask", to=TensorProto.INT32)
    for index in range(_LAYERS):
        x = _layer(graph, weights, x, mask, index)
    mask = graph.node("Cast", ["attention_mask"], "mask_floats", to=TensorProto.FLOAT)
    last = graph.constant("last_axis", np.array([2], np.int64))
    mask = graph.node("Unsqueeze", [mask, last], "mask_column")
    visible = graph.node("Mul", [x, mask], "visible")
    tokens = graph.constant("token_axis", np.array([1], np.int64))
    # The sum is enough: dividing by the token count would not change the direction.
    pooled = graph.node("ReduceSum", [visible, tokens], "pooled", keepdims=0)
    graph.node("LpNormalization", [pooled], "embedding", axis=1, p=2)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "minilm",
            [
                helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
                for name in ("input_ids", "attention_mask")
            ],
            [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", DIM])],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid(_CONTRIB, 1)],
        # The oldest version that has these operators, so that older runtimes load it too.
        ir_version=8,
    )
    return bytes(model.SerializeToString(deterministic=True))


if __name__ == "__main__":
    Path(sys.argv[2]).write_bytes(build(read_safetensors(Path(sys.argv[1]))))
