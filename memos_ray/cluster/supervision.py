"""The supervisor as an actor, with a crew of real ones."""

from __future__ import annotations

from memos_ray.actors.supervisor import Supervisor
from memos_ray.cluster import assembly
from memos_ray.cluster.authorities import SUPERVISOR
from memos_ray.cluster.crew import Crew, start_actor
from memos_ray.cluster.hosts import configure_process
from memos_ray.config import Settings


class SupervisorHost(Supervisor):
    """The supervisor with a crew of real actors."""

    def __init__(self, settings: Settings) -> None:
        configure_process()
        super().__init__(assembly.control_store(settings), Crew(settings), settings.vault)


def start_supervisor(settings: Settings) -> None:
    """Starts the supervisor unless it runs."""
    start_actor(SupervisorHost, SUPERVISOR, settings, settings)
