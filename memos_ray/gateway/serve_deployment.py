"""The REST door as a Ray Serve deployment.

Serve's proxy listens and routes; each replica is one process with its own `Doorway`. Replicas hold
nothing but caches, so that any number may run and any may die.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve import Application
from ray.serve.config import HTTPOptions

from memos_ray.actors import interpreter
from memos_ray.cluster.boot import boot
from memos_ray.cluster.keyring import Keyring, without_keys
from memos_ray.config import Settings
from memos_ray.gateway.app import create_app
from memos_ray.gateway.opening import open_doorway

APPLICATION = "memos"
_ONGOING = 1024
_ANSWER_BYTES = 2**31 - 1


class Gateway:
    """One replica of the REST door.

    Args:
        settings: without the keys of the policy authority.
        public_key: verifies policy snapshots.
    """

    def __init__(self, settings: Settings, public_key: bytes) -> None:
        _configure_logging()
        self._settings = settings
        self._public_key = public_key

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Makes the application inside the replica; Serve calls this."""
        doorway = open_doorway(self._settings, self._public_key)
        replica = serve.get_replica_context().replica_id.unique_id
        app = create_app(doorway, self._settings, behind_proxy=True, replica=replica)
        # Here, for what is loaded by now is not looked through again.
        interpreter.tune()
        return app


def bind(settings: Settings, public_key: bytes) -> Application:
    """Describes the deployment with its arguments."""
    deployment = serve.deployment(
        name="gateway",
        num_replicas=settings.gateway.replicas,
        max_ongoing_requests=_ONGOING,
        ray_actor_options={"num_cpus": 0},
        # A replica that was killed is noticed by this, and replaced; until then nobody may answer.
        health_check_period_s=1.0,
        graceful_shutdown_timeout_s=10.0,
        logging_config={"enable_access_log": False, "log_level": "WARNING"},
    )(serve.ingress()(Gateway))
    return deployment.bind(without_keys(settings), public_key)


def build(args: dict[str, Any]) -> Application:
    """Builds the application for a Serve config file (`deployments/memos.yaml`).

    Serve calls this in a process of the cluster. The actors are booted first, unless they run.

    Args:
        args: settings as in `config.Settings`, over those of the environment.

    Raises:
        ConfigurationError: the settings are not valid or do not fit the data.
        UnavailableError: an actor does not come up.
    """
    settings = Settings(**args)
    boot(settings)
    return bind(settings, Keyring(settings).public_key())


def shorten_ways() -> None:
    """Has the proxy of a cluster that this process will start reach its replicas directly.

    By gRPC, at the port that each of them has in any case and that asks for Ray's token, and from
    the event loop that has read the request: a call of an actor with a stream of objects for its
    answer, and a thread of its own for routing, cost a fifth of a search. Ray's processes inherit
    it; what the environment says already goes before.
    """
    os.environ.setdefault("RAY_SERVE_PROXY_USE_GRPC", "1")
    # By default it carries 4 MiB, less than a long page has.
    os.environ.setdefault("RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH", str(_ANSWER_BYTES))
    os.environ.setdefault("RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP", "0")
    # A proxy of the environment does not reach this machine's own loopback.
    direct = (os.environ.get("no_proxy"), "127.0.0.1", "localhost")
    os.environ.setdefault("no_grpc_proxy", ",".join(filter(None, direct)))


def start(settings: Settings, public_key: bytes, port: int) -> None:
    """Starts Serve in the cluster that this process is connected to; returns when it answers.

    Args:
        port: to listen on, at `gateway.host`.
    """
    gateway = settings.gateway
    serve.start(
        proxy_location="HeadOnly",
        # No deadline of Serve's own: the application's hold, and answer with a problem document.
        http_options=HTTPOptions(host=gateway.host, port=port, request_timeout_s=None),
        logging_config={"enable_access_log": False, "log_level": "WARNING"},
    )
    serve.run(bind(settings, public_key), name=APPLICATION, route_prefix="/")


def stop() -> None:
    """Drains the replicas; Serve's own actors end with the cluster."""
    serve.delete(APPLICATION)


def _configure_logging() -> None:
    """Sends the access log, one JSON object a line, and warnings to the process's log."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger("memos_ray")
    root.handlers = [handler]
    root.propagate = False
    root.setLevel(logging.INFO)
