"""The cluster launcher's file passes Ray's own validation, offline."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def _validate(config: dict[str, object]) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(config))


def test_ray_accepts_the_cluster_file() -> None:
    config = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    _validate(config)
    types = config["available_node_types"]
    assert set(types) == {"head", "memory", "gpu"}
    assert sum(node["max_workers"] for node in types.values()) <= config["max_workers"]


def test_the_validation_bites() -> None:
    config = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    config["available_node_types"]["gpu"]["min_workers"] = "many"
    with pytest.raises(Exception, match="many"):
        _validate(config)
