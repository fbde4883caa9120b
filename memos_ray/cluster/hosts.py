"""What runs inside each actor process: a plain class with its real parts.

The classes are ordinary and importable; `crew.py` turns them into actors. The constructor opens
the stores, so that a restarted actor recovers from them alone.
"""

from __future__ import annotations

import logging
import os

from memos_ray.actors.governance import MemGovernance
from memos_ray.actors.shard import ShardParts, VaultShard
from memos_ray.actors.supervisor import Supervisor, load_ring
from memos_ray.cluster import assembly
from memos_ray.cluster.clock import OwnProcess, SystemClock
from memos_ray.cluster.handles import PolicyHandle
from memos_ray.cluster.keyring import Keyring
from memos_ray.config import Settings


def _configure_logging() -> None:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )


class ShardHost(VaultShard):
    """A vault shard with the stores and the embedder that the settings name."""

    def __init__(self, name: str, settings: Settings, public_key: bytes) -> None:
        _configure_logging()
        control = assembly.control_store(settings)
        super().__init__(
            name,
            ShardParts(
                store=assembly.record_store(settings),
                vectors=assembly.vector_store(settings, name),
                embedder=assembly.embedder(settings.embedder),
                governance=PolicyHandle(settings.namespace),
                ring=lambda: load_ring(control),
                public_key=public_key,
                clock=SystemClock(),
                probe=OwnProcess(),
                settings=settings.vault,
                retrieval=assembly.retrieval_settings(settings),
            ),
        )


class GovernanceHost(MemGovernance):
    """The policy authority on the control store."""

    def __init__(self, settings: Settings) -> None:
        _configure_logging()
        super().__init__(
            store=assembly.control_store(settings),
            clock=SystemClock(),
            entropy=os.urandom,
            signing_key=Keyring(settings).signing_key(),
            lease_s=settings.governance.lease_s,
        )


class SupervisorHost(Supervisor):
    """The supervisor with a crew of real actors."""

    def __init__(self, settings: Settings) -> None:
        from memos_ray.cluster.crew import Crew

        _configure_logging()
        super().__init__(assembly.control_store(settings), Crew(settings), settings.vault)
