"""What is counted of the answers of models."""

from __future__ import annotations

from memos_ray.core.activation import Refusal
from memos_ray.core.generation import KvUse
from memos_ray.core.scheduling.replication import count_copy
from memos_ray.gateway.metrics import HttpMetrics


def test_answers_are_counted_by_what_stood_in_for_their_prompts() -> None:
    metrics = HttpMetrics("7")
    metrics.answered("m", KvUse(100, 96, 64, at_holder=True))
    metrics.answered("m", KvUse(100, 0, 0, Refusal.KEY.value, at_holder=False))
    metrics.answered("m", KvUse(10))
    lines = metrics.render({}).decode().splitlines()
    samples = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    for labels, value in (
        ('prompt_tokens_total{kind="all",model="m",replica="7"}', 210),
        ('prompt_tokens_total{kind="cached",model="m",replica="7"}', 96),
        ('prompt_tokens_total{kind="loaded",model="m",replica="7"}', 64),
        ('prompt_cached_share_bucket{le="0.0",model="m",replica="7"}', 2),
        ('prompt_cached_share_bucket{le="0.95",model="m",replica="7"}', 2),
        ('prompt_cached_share_count{model="m",replica="7"}', 3),
        ('kv_refusals_total{model="m",reason="key",replica="7"}', 1),
        ('routed_total{model="m",replica="7",to="holder"}', 1),
        ('routed_total{model="m",replica="7",to="stranger"}', 1),
    ):
        assert float(samples[f"memos_{labels}"]) == value, labels


def test_SCHED_4_copies_of_hot_caches_are_shown_by_model_and_change() -> None:
    count_copy("copied", "added")
    count_copy("copied", "added")
    count_copy("copied", "dropped")
    lines = HttpMetrics("7").render({}).decode().splitlines()
    for change, count in (("added", 2), ("dropped", 1)):
        labels = f'{{change="{change}",model="copied",replica="7"}}'
        assert f"memos_kv_copies{labels} {count}.0" in lines
