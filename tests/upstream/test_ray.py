"""Ray still has what this project relies on; an upgrade that breaks it fails here, and says how."""

from __future__ import annotations

import importlib
import inspect

import pytest
import ray
from ray.serve.request_router import RequestRouter

from memos_ray.serving.routing import HolderRouter
from tests.upstream.surface import Relied, complaint, overridden

_NODE = "cluster/ray_node.py"
_REMOTE = "cluster/remote.py"
_CREW = "cluster/crew.py"
_DEPLOYMENT = "serving/deployment.py"
_HANDLES = "serving/handles.py"
_ROUTING = "serving/routing.py"
_DOOR = "gateway/serve_deployment.py"
_CONSTANTS = "ray.serve._private.constants"

RELIED = (
    Relied(
        "ray:init",
        _NODE,
        named=(
            "address",
            "num_cpus",
            "num_gpus",
            "object_store_memory",
            "namespace",
            "include_dashboard",
            "log_to_driver",
            "logging_level",
            "configure_logging",
        ),
    ),
    Relied("ray:get_actor", _REMOTE, ("name",), ("namespace",)),
    Relied("ray:kill", _CREW, ("actor",), ("no_restart",)),
    Relied("ray.exceptions:RayTaskError", _REMOTE, has=("cause",)),
    Relied(
        "ray.exceptions",
        _REMOTE,
        has=("GetTimeoutError", "RayActorError", "RayError", "TaskCancelledError"),
    ),
    Relied("ray.serve.exceptions", _HANDLES, has=("BackPressureError", "RayServeException")),
    Relied(
        "ray.serve:deployment",
        _DEPLOYMENT,
        named=(
            "name",
            "num_replicas",
            "autoscaling_config",
            "max_ongoing_requests",
            "max_queued_requests",
            "request_router_config",
            "ray_actor_options",
            "health_check_period_s",
            "graceful_shutdown_timeout_s",
            "logging_config",
        ),
    ),
    Relied("ray.serve:run", _DEPLOYMENT, ("target",), ("name", "route_prefix")),
    Relied(
        "ray.serve:start",
        _DEPLOYMENT,
        named=("proxy_location", "http_options", "logging_config"),
    ),
    Relied("ray.serve:status", _DEPLOYMENT, ()),
    Relied("ray.serve.schema:ServeStatus", _DEPLOYMENT, has=("applications",)),
    Relied("ray.serve:delete", _DOOR, ("name",)),
    Relied("ray.serve:shutdown", _DEPLOYMENT, ()),
    Relied("ray.serve:get_app_handle", _HANDLES, ("name",)),
    Relied("ray.serve:get_replica_context", _DOOR, ()),
    Relied("ray.serve.context:ReplicaContext", _DOOR, has=("replica_id",)),
    Relied(
        "ray.serve.config:AutoscalingConfig",
        _DEPLOYMENT,
        has=(
            "min_replicas",
            "max_replicas",
            "target_ongoing_requests",
            "upscale_delay_s",
            "downscale_delay_s",
        ),
    ),
    Relied("ray.serve.config:HTTPOptions", _DOOR, has=("host", "port", "request_timeout_s")),
    Relied(
        "ray.serve.config:RequestRouterConfig",
        _DEPLOYMENT,
        has=(
            "request_router_class",
            "request_router_kwargs",
            "request_routing_stats_period_s",
        ),
    ),
    Relied("ray.serve.handle:DeploymentHandle.options", _HANDLES, (), ("stream",)),
    Relied("ray.serve.handle:DeploymentResponse._to_object_ref", _HANDLES, (), awaited=True),
    Relied("ray.serve.handle:DeploymentResponseGenerator.__anext__", _HANDLES, (), awaited=True),
    Relied("ray.serve.handle:DeploymentResponseGenerator.cancel", _HANDLES, (), awaited=False),
    Relied(
        "ray.serve.request_router:RequestRouter.choose_replicas",
        _ROUTING,
        ("candidate_replicas", "pending_request"),
        awaited=True,
    ),
    Relied(
        "ray.serve.request_router:RequestRouter.on_request_routed",
        _ROUTING,
        ("pending_request", "replica_id", "result"),
        awaited=False,
    ),
    Relied("ray.serve.request_router:RequestRouter", _ROUTING, has=("replica_queue_len_cache",)),
    Relied(
        "ray.serve.request_router:RunningReplica",
        _ROUTING,
        has=("replica_id", "routing_stats", "max_ongoing_requests"),
    ),
    Relied("ray.serve.request_router:PendingRequest", _ROUTING, has=("args", "routing_context")),
    Relied("ray.serve.request_router:ReplicaID", _ROUTING, has=("unique_id",)),
    Relied(
        "ray.serve._private.request_router.common:RequestRoutingContext",
        _ROUTING,
        has=("should_backoff",),
    ),
    Relied(
        "ray.serve._private.request_router.common:ReplicaQueueLengthCache.get",
        _ROUTING,
        ("replica_id",),
    ),
)


@pytest.mark.parametrize("relied", RELIED, ids=lambda relied: relied.path)
def test_it_is_there(relied: Relied) -> None:
    problem = complaint(relied)
    assert problem is None, problem


def test_the_router_overrides_what_serve_calls() -> None:
    assert overridden(HolderRouter, RequestRouter) == []


@pytest.mark.parametrize(
    ("constant", "name"),
    [
        ("HEALTH_CHECK_METHOD", "check_health"),
        ("REQUEST_ROUTING_STATS_METHOD", "record_routing_stats"),
    ],
)
def test_serve_calls_replicas_by_these_names(constant: str, name: str) -> None:
    from memos_ray.serving.deployment import ModelDeployment

    assert getattr(importlib.import_module(_CONSTANTS), constant) == name
    assert callable(getattr(ModelDeployment, name))


def test_ray_can_be_told_where_to_write() -> None:
    # Taken from keywords that are not in the signature.
    assert '"_temp_dir"' in inspect.getsource(ray.init)


def test_serve_asks_the_door_for_its_application() -> None:
    from ray.serve._private.replica import SERVE_BUILD_ASGI_APP_METHOD

    from memos_ray.gateway.serve_deployment import Gateway

    assert hasattr(Gateway, SERVE_BUILD_ASGI_APP_METHOD)
