"""Serve's request router for model replicas: those that hold a request's KV caches come first."""

from __future__ import annotations

import logging
import random
import time
from typing import Any

from ray.serve.request_router import (
    PendingRequest,
    ReplicaID,
    RequestRouter,
    RunningReplica,
)
from ray.util.metrics import Counter

from memos_ray.core.generation import ChatRequest
from memos_ray.core.scheduling.replication import (
    Copies,
    CopyDecision,
    Replicating,
    count_copy,
)
from memos_ray.core.scheduling.routing import Placements, RoutingPolicy, preferred

_log = logging.getLogger(__name__)

HELD = "held"
"""Key of a replica's routing stats: tokens of what it holds, by name."""


class HolderRouter(RequestRouter):
    """Prefers holders; where nothing is known, the less busy of two replicas, chosen at random.

    One lives in every process that asks a model, in one thread. Serve asks the replicas of a rank
    for their queues where it does not know them, and goes on to the next rank when all are full.
    """

    # A holder that computes is slow to say how long its queue is. Serve's own tenth of a second
    # would send its requests to those that hold nothing.
    queue_len_response_deadline_s = 1.0
    max_queue_len_response_deadline_s = 5.0

    def initialize_state(self, **kwargs: Any) -> None:
        """Takes the fields of `RoutingPolicy`, and how far hot names spread; Serve calls this once.

        Besides those fields: `model`, its name for the metric and the log, and `copies_max`, see
        `Replicating`.
        """
        model, copies_max = kwargs.pop("model", ""), kwargs.pop("copies_max", 1)
        self._policy = RoutingPolicy(**kwargs)
        self._placements = Placements(self._policy)
        self._copies = Copies(Replicating(copies_max=copies_max))
        self._model = model
        self._changes = Counter(
            "memos_kv_copies",
            "Copies of hot KV caches and adapters on further replicas, made and given up.",
            ("model", "change"),
        )

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        """Returns ranks of replicas, the best first."""
        shuffled = random.sample(candidate_replicas, len(candidate_replicas))
        names = _names(pending_request)
        if pending_request is not None:
            # When all are full, Serve waits a little before it asks again.
            pending_request.routing_context.should_backoff = True
        if names:
            now = time.monotonic()
            views = [
                self._placements.view(
                    replica.replica_id.unique_id,
                    names,
                    replica.routing_stats.get(HELD, {}),
                    ongoing=self.replica_queue_len_cache.get(replica.replica_id),
                    capacity=replica.max_ongoing_requests,
                    now=now,
                )
                for replica in shuffled
            ]
            views, decision = self._copies.weigh(names, views, now)
            if decision is not None and decision.changed:
                self._tell(decision)
            replicas = {one.replica_id.unique_id: one for one in shuffled}
            ranked = preferred(views, self._policy)
            if ranked:
                return [[replicas[name]] for name in ranked]
        return [shuffled[:2], shuffled[2:]]

    def _tell(self, decision: CopyDecision) -> None:
        change = "added" if decision.copies > decision.before else "dropped"
        self._changes.inc(1, {"model": self._model, "change": change})
        count_copy(self._model, change)
        _log.info(
            "a hot cache of %s: %d copies after %d: %s",
            self._model,
            decision.copies,
            decision.before,
            decision.reason,
        )

    def on_request_routed(
        self, pending_request: PendingRequest, replica_id: ReplicaID, result: Any
    ) -> None:
        """Notes where a request has gone; Serve calls this when a replica has taken it."""
        names = _names(pending_request)
        if names:
            self._placements.sent(names, replica_id.unique_id, time.monotonic())


def _names(request: PendingRequest | None) -> tuple[str, ...]:
    if request is not None and request.args and isinstance(request.args[0], ChatRequest):
        return request.args[0].places
    return ()
