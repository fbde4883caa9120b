"""What `/metrics` shows: requests of this gateway process, and the state of the shards.

Labels are bounded: route templates, methods, status codes, names of replicas and shards; never a
tenant, a namespace or an id. Several replicas stand behind one address, of which each request meets
one: every count names its replica, so that a sum over them is right.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPMethod

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from memos_ray.core.generation import KvUse
from memos_ray.core.scheduling.replication import COPY_CHANGES
from memos_ray.core.vault.requests import ShardStatus

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
_METHODS = frozenset(HTTPMethod)


class HttpMetrics:
    """The registry of one gateway process."""

    def __init__(self, replica: str = "0") -> None:
        self._replica = replica
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "memos_http_requests",
            "Requests answered.",
            ("replica", "route", "method", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "memos_http_request_seconds",
            "Time from the first byte read to the last byte sent.",
            ("replica", "route", "method"),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._searches = Counter(
            "memos_searches", "Searches answered.", ("replica",), registry=self._registry
        )
        self._hits = Counter(
            "memos_search_hits",
            "Memories returned by searches.",
            ("replica",),
            registry=self._registry,
        )
        self._read = Counter(
            "memos_questions_read",
            "Gaps that a dialogue was to fill, by rules or a model, and dates of events.",
            ("replica", "step", "outcome"),
            registry=self._registry,
        )
        self._adds = Counter(
            "memos_adds",
            "Memories sent to be stored.",
            ("replica", "outcome"),
            registry=self._registry,
        )
        self._tokens = Counter(
            "memos_prompt_tokens",
            "Tokens of prompts: all, those not computed, and those loaded with a KV cache.",
            ("replica", "model", "kind"),
            registry=self._registry,
        )
        self._cached = Histogram(
            "memos_prompt_cached_share",
            "Share of each prompt that was not computed.",
            ("replica", "model"),
            buckets=_SHARES,
            registry=self._registry,
        )
        self._refusals = Counter(
            "memos_kv_refusals",
            "KV caches that an engine did not load.",
            ("replica", "model", "reason"),
            registry=self._registry,
        )
        self._routed = Counter(
            "memos_routed",
            "Answers for which a replica may hold something, by whether theirs did.",
            ("replica", "model", "to"),
            registry=self._registry,
        )
        self._forms = Counter(
            "memos_prompt_forms",
            "Memories of prompts, by the form in which they went in, and why in that.",
            ("replica", "model", "form", "reason"),
            registry=self._registry,
        )
        self._shards = {
            name: Gauge(f"memos_shard_{name}", text, ("shard",), registry=self._registry)
            for name, text in (
                ("up", "Whether the shard answers."),
                ("partitions", "Partitions owned."),
                ("queued", "Writes that wait for a commit."),
                ("lag", "Log entries that are not yet embedded."),
                ("index_lag", "Log entries that Milvus has not yet seen."),
                ("resident_namespaces", "Namespaces held in memory."),
                ("resident_memories", "Memories held in memory."),
                ("resident_bytes", "Size of the resident indexes."),
                ("kv_bytes", "KV caches in the object store."),
                ("kv_rest_bytes", "KV caches at rest, as files."),
                ("conversations", "Conversations that are kept."),
                ("extraction_queued", "Jobs of extraction that are not done and not parked."),
                ("rss_bytes", "Resident set size of the shard's process."),
            )
        }
        self._followers = {
            name: Gauge(f"memos_shard_{name}", text, labels, registry=self._registry)
            for name, text, labels in (
                (
                    "behind_seconds",
                    "How long what follows the log has not been level with it.",
                    ("shard", "feed"),
                ),
                (
                    "aside",
                    "Log entries that what follows the log could not take.",
                    ("shard", "feed"),
                ),
                (
                    "stalled",
                    "Whether an error keeps what follows the log from going on.",
                    ("shard", "feed", "code"),
                ),
            )
        }
        self._counters = Gauge(
            "memos_shard_count",
            "Counts that a shard keeps of itself since its start.",
            ("shard", "count"),
            registry=self._registry,
        )

        self._copies = Gauge(
            "memos_kv_copies",
            "Copies of hot KV caches and adapters that this process has had added and dropped.",
            ("replica", "model", "change"),
            registry=self._registry,
        )
        self._pipelines = Gauge(
            "memos_pipeline_count",
            "Counts that the runner of pipelines keeps of itself since its start.",
            ("count",),
            registry=self._registry,
        )

    def observe(self, route: str, method: str, status: int, took_s: float) -> None:
        """Counts a request; methods that HTTP does not name are counted together."""
        method = method if method in _METHODS else "other"
        self._requests.labels(self._replica, route, method, str(status)).inc()
        self._seconds.labels(self._replica, route, method).observe(took_s)

    def searched(self, hits: int) -> None:
        """Counts a search."""
        self._searches.labels(self._replica).inc()
        self._hits.labels(self._replica).inc(hits)

    def read(self, step: str, outcome: str) -> None:
        """Counts a step of reading a question."""
        self._read.labels(self._replica, step, outcome).inc()

    def added(self, stored: int, failed: int) -> None:
        """Counts memories that were stored or refused."""
        self._adds.labels(self._replica, "stored").inc(stored)
        self._adds.labels(self._replica, "failed").inc(failed)

    def answered(self, model: str, use: KvUse) -> None:
        """Counts an answer of a model."""
        tokens = self._tokens.labels
        tokens(self._replica, model, "all").inc(use.prompt_tokens)
        tokens(self._replica, model, "cached").inc(use.cached_tokens)
        tokens(self._replica, model, "loaded").inc(use.loaded_tokens)
        if use.prompt_tokens:
            share = use.cached_tokens / use.prompt_tokens
            self._cached.labels(self._replica, model).observe(share)
        if use.refused is not None:
            self._refusals.labels(self._replica, model, use.refused).inc()
        if use.at_holder is not None:
            to = "holder" if use.at_holder else "stranger"
            self._routed.labels(self._replica, model, to).inc()

    def formed(self, model: str, forms: Mapping[tuple[str, str], int]) -> None:
        """Counts the memories of a prompt by form and reason."""
        for (form, reason), count in forms.items():
            self._forms.labels(self._replica, model, form, reason).inc(count)

    def render(
        self, shards: Mapping[str, ShardStatus | None], pipelines: Mapping[str, int] | None = None
    ) -> bytes:
        """Returns everything in Prometheus' text format."""
        for gauge in self._followers.values():
            # What is not so any more is not shown any more.
            gauge.clear()
        for name, status in shards.items():
            self._shards["up"].labels(name).set(0 if status is None else 1)
            if status is not None:
                self._show(name, status)
        for (model, change), number in COPY_CHANGES.items():
            self._copies.labels(self._replica, model, change).set(number)
        for count, number in (pipelines or {}).items():
            self._pipelines.labels(count).set(number)
        return generate_latest(self._registry)

    def _show(self, name: str, status: ShardStatus) -> None:
        values = {
            "partitions": len(status.partitions),
            "queued": status.queued,
            "lag": sum(status.lag.values()),
            "index_lag": sum(status.index_lag.values()),
            "resident_namespaces": status.resident_namespaces,
            "resident_memories": status.resident_memories,
            "resident_bytes": status.resident_bytes,
            "kv_bytes": status.kv_bytes,
            "kv_rest_bytes": status.kv_rest_bytes,
            "conversations": status.conversations,
            "extraction_queued": status.extraction_queued,
            "rss_bytes": status.rss_bytes,
        }
        for key, value in values.items():
            self._shards[key].labels(name).set(value)
        for key, value in status.counters.items():
            self._counters.labels(name, key).set(value)
        for feed, follower in status.followers.items():
            self._followers["behind_seconds"].labels(name, feed).set(follower.behind_s)
            self._followers["aside"].labels(name, feed).set(follower.aside)
            if follower.stalled_by is not None:
                self._followers["stalled"].labels(name, feed, follower.stalled_by).set(1)
