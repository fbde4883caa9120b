"""Two agents on two nodes share a namespace; one node is killed, and the other agent goes on.

    python examples/nodes/shared_namespace.py

Starts a Ray cluster of three nodes on this machine, on loopback addresses of their own: a head, and
a node for each agent. The agents plan a trip in one shared namespace, each with a key of its own.
Then the node of the first one is killed with SIGKILL, with whatever of MemOS runs there: Ray starts
that anew elsewhere, nothing that was acknowledged is lost, and the second agent finishes the plan.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, TypeVar

from memos_ray import MemOS, Settings, UnavailableError

# A node joins the head of another address, which an embedded cluster would not do.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "1"

import ray
from ray.cluster_utils import Cluster
from rich.console import Console

from memos_ray.config import VaultSettings

T = TypeVar("T")

_PLAN = "trip-plan"
_FIRST = (
    "The night train to Vienna leaves at 21:40 from platform 7.",
    "The hotel in Vienna is the Blue Pigeon, booked for three nights.",
    "Museum tickets are for Saturday at 10:00.",
)
_SECOND = (
    "Dinner on Saturday is at the Old Mill, a table for four.",
    "The way back is by bus, on Monday at noon.",
)
_PATIENCE_S = 240.0
# Ray tells a driver at length that a node has died, where others write their results.
console = Console(width=110, file=sys.stdout)


class Agent:
    """An agent in a process of its node, which joins the cluster from there."""

    def __init__(self, address: str, key: str, settings: Settings) -> None:
        self._memos = MemOS(address=address, api_key=key, settings=settings)

    def where(self) -> str:
        """Returns the id of the node that it runs on."""
        return str(ray.get_runtime_context().get_node_id())

    def note(self, text: str, key: str) -> str:
        """Remembers something for everybody; the key makes repeating it harmless."""
        stored = patiently(
            lambda: self._memos.add(text, _PLAN, idempotency_key=key, visibility="shared")
        )
        return str(stored.id)

    def look_up(self, question: str) -> list[str]:
        """Returns what the plan says, the best first."""
        # What another agent has just noted is to be found by what it means, too.
        found = patiently(
            lambda: self._memos.search(question, namespace=_PLAN, limit=10, wait_indexed=True)
        )
        return [hit.memory.text for hit in found.hits]


def patiently(act: Callable[[], T]) -> T:
    """Does something again while whatever served it is being started elsewhere."""
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return act()
        except UnavailableError:
            if time.monotonic() > until:
                raise


@contextmanager
def three_nodes() -> Iterator[tuple[Cluster, Any, Any]]:
    """Runs the cluster; yields it with the nodes of the two agents."""
    # Too few CPUs on the head for MemOS' actors: the agents' nodes take some of them.
    common: dict[str, Any] = {"object_store_memory": 80 << 20, "num_gpus": 0}
    head = {"node_ip_address": "127.0.0.2", "num_cpus": 2, "include_dashboard": False, **common}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        nodes = [
            cluster.add_node(
                node_ip_address=f"127.0.0.{number}",
                num_cpus=4,
                resources={name: 1},
                **common,
            )
            for number, name in ((3, "first"), (4, "second"))
        ]
        yield cluster, *nodes
    finally:
        ray.shutdown()
        cluster.shutdown()


def main() -> None:
    """Plans a trip on two nodes, and on one."""
    with (
        redirect_stdout(io.StringIO()),
        tempfile.TemporaryDirectory(prefix="memos-nodes-") as folder,
        three_nodes() as (cluster, doomed, _),
    ):
        settings = Settings(data=Path(folder), vault=VaultSettings(shards=2, partitions=8))
        with MemOS(address=cluster.address, settings=settings) as memos:
            memos.admin.create_namespace(_PLAN, "contextual_pool", members=["*"])
            agents = [start(memos, cluster, name, settings) for name in ("first", "second")]
            play(memos, cluster, doomed, *agents)


def start(memos: MemOS, cluster: Cluster, name: str, settings: Settings) -> Any:
    """Starts an agent on its node, with a key of its own."""
    memos.admin.create_principal(f"agent:{name}")
    key = memos.admin.issue_key(f"agent:{name}").secret or ""
    hosted = ray.remote(Agent).options(num_cpus=0, resources={name: 1})
    return hosted.remote(cluster.address, key, settings)


def play(memos: MemOS, cluster: Cluster, doomed: Any, first: Any, second: Any) -> None:
    """Lets both plan, kills a node, and lets the other one finish."""
    places = ray.get([first.where.remote(), second.where.remote()])
    assert places[0] == doomed.node_id != places[1]
    console.rule("two agents on two nodes")
    for number, text in enumerate(_FIRST):
        ray.get(first.note.remote(text, f"first-{number}"))
    shared = ray.get(second.look_up.remote("when does the train leave?"))
    console.print(f"the second agent finds: {shared[0]}")
    assert set(shared) == set(_FIRST) and shared[0] == _FIRST[0]
    console.rule("the first node is killed")
    cluster.remove_node(doomed, allow_graceful=False)
    began = time.monotonic()
    for number, text in enumerate(_SECOND):
        ray.get(second.note.remote(text, f"second-{number}"))
    console.print(f"the second agent goes on after {time.monotonic() - began:.1f} s")
    plan = ray.get(second.look_up.remote("what is planned in Vienna?"))
    for text in plan:
        console.print(f"- {text}")
    assert set(plan) == {*_FIRST, *_SECOND}, plan
    owners = {memory.owner for memory in patiently(lambda: list(memos.iterate(_PLAN)))}
    assert owners == {"agent:first", "agent:second"}
    console.rule("one node fewer, and nothing of the plan is lost")


if __name__ == "__main__":
    main()
