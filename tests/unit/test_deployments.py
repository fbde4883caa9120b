"""The files in `deployments/` fit Ray, each other, the settings and the metrics that exist."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml

from memos_ray import __version__
from memos_ray.cluster.keyring import Keyring
from memos_ray.config import ModelSettings, Settings
from memos_ray.gateway import serve_deployment
from memos_ray.gateway.metrics import HttpMetrics
from memos_ray.serving import deployment
from memos_ray.serving.deployment import application_of

FOLDER = Path(__file__).parents[2] / "deployments"
_METRIC = re.compile(r"\bmemos_[a-z_]+")


def _yaml(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text())


def _variables() -> dict[str, str]:
    lines = (FOLDER / "memos.env").read_text().splitlines()
    pairs = (line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return {name: value for name, value in pairs}


def _check_serve(config: dict[str, Any]) -> None:
    from ray.serve.schema import ServeDeploySchema

    ServeDeploySchema.model_validate(config)
    (application,) = config["applications"]
    module, _, name = application["import_path"].partition(":")
    assert (module, application["name"]) == (serve_deployment.__name__, "memos")
    assert callable(getattr(serve_deployment, name))


def test_ray_accepts_the_serve_file() -> None:
    config = _yaml("memos.yaml")
    _check_serve(config)
    # No deadline of Serve's own, which would cut off answers of models.
    assert config["http_options"] == {"host": "127.0.0.1", "port": Settings().gateway.port}


def test_that_check_bites() -> None:
    config = _yaml("memos.yaml")
    config["applications"][0]["import_path"] = "nowhere"
    with pytest.raises(ValueError, match="nowhere"):
        _check_serve(config)


def _check_models(config: dict[str, Any]) -> list[ModelSettings]:
    """Checks a file with models and returns their settings."""
    from ray.serve.schema import ServeDeploySchema

    ServeDeploySchema.model_validate(config)
    *models, door = config["applications"]
    plain = _yaml("memos.yaml")
    (application,) = plain["applications"]
    assert door == {**application, "args": door["args"]}
    assert set(door["args"]) == {"models"}
    assert {key: config[key] for key in plain if key not in ("applications", "http_options")} == {
        key: plain[key] for key in plain if key not in ("applications", "http_options")
    }
    settings = [ModelSettings.model_validate(model["args"]) for model in models]
    assert Settings(models=door["args"]["models"]).models == tuple(settings)
    for model, one in zip(models, settings, strict=True):
        assert model["import_path"] == f"{deployment.__name__}:{deployment.build.__name__}"
        assert (model["name"], model["route_prefix"]) == (application_of(one.name), None)
        deployment.build(model["args"])
    longest = max(Settings().gateway.timeout_s, *(one.answer_s for one in settings))
    assert config["http_options"]["request_timeout_s"] > longest
    return settings


def test_models_on_cpus() -> None:
    for model in _check_models(_yaml("models.cpu.yaml")):
        assert (model.gpus, model.tensor_parallel) == (0, 1)
        assert model.kv_bytes > model.shelf_bytes


def test_models_on_gpus() -> None:
    models = _check_models(_yaml("models.gpu.yaml"))
    assert {model.tensor_parallel for model in models} == {1, 2}
    for model in models:
        # A replica sees no other devices than those that it asks Ray for.
        assert model.gpus == model.tensor_parallel
        assert model.engine_process and not model.eager


@pytest.mark.parametrize(
    ("place", "field", "value"),
    [(0, "name", "other"), (0, "import_path", "nowhere"), (1, "route_prefix", "/other")],
)
def test_that_check_of_models_bites(place: int, field: str, value: str) -> None:
    config = _yaml("models.cpu.yaml")
    config["applications"][place][field] = value
    with pytest.raises((AssertionError, ValueError)):
        _check_models(config)


def test_a_field_that_models_do_not_have_is_refused() -> None:
    arguments = _yaml("models.cpu.yaml")["applications"][0]["args"]
    with pytest.raises(ValueError, match="no_such"):
        deployment.build({**arguments, "no_such": 1})


def test_the_kubernetes_file_is_a_ray_service() -> None:
    service = _yaml("rayservice.yaml")
    assert (service["apiVersion"], service["kind"]) == ("ray.io/v1", "RayService")
    spec = service["spec"]
    # Two clusters never share a database, not even for an upgrade.
    assert spec["upgradeStrategy"] == {"type": "None"}
    config = yaml.safe_load(spec["serveConfigV2"])
    _check_serve(config)
    plain = _yaml("memos.yaml")
    plain["http_options"]["host"] = config["http_options"]["host"]
    assert config == plain
    cluster = spec["rayClusterConfig"]
    assert cluster["rayVersion"] == ray.__version__
    groups = cluster["workerGroupSpecs"]
    assert all(g["minReplicas"] <= g["replicas"] <= g["maxReplicas"] for g in groups)
    for group in (cluster["headGroupSpec"], *groups):
        (container,) = group["template"]["spec"]["containers"]
        assert container["image"] == f"memos-ray:{__version__}"
        assert container["envFrom"] == [{"secretRef": {"name": "memos"}}]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert ports["serve"] == config["http_options"]["port"]
        mounts = {mount["name"] for mount in container["volumeMounts"]}
        assert mounts == {volume["name"] for volume in group["template"]["spec"]["volumes"]}


def test_the_variables_are_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("MEMOS_")]:
        monkeypatch.delenv(name)
    for name, value in _variables().items():
        if name.startswith("MEMOS_"):
            monkeypatch.setenv(name, value)
    # An empty key is named at the start, and not before.
    settings = Settings(data=tmp_path)
    assert settings.records.url and settings.vectors.uri and settings.blobs.uri
    assert settings.vault.shards <= settings.vault.partitions
    known = {f"MEMOS_{name.upper()}" for name in Settings.model_fields}
    assert {name.split("__")[0] for name in _variables() if name.startswith("MEMOS_")} <= known


def test_keys_made_as_described_can_be_used(tmp_path: Path) -> None:
    text = (FOLDER / "README.md").read_text()
    signing, admin, token = re.search(r"```\n(head .*?)```", text, re.DOTALL)[1].splitlines()  # type: ignore[index]

    def made(command: str) -> str:
        run = subprocess.run(
            ["bash", "-c", command.replace("python3.11", sys.executable)],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(FOLDER.parent)},
        )
        return run.stdout.strip()

    assert len(base64.b64decode(made(signing))) == 32
    keys = {"signing_key": made(signing), "admin_key": made(admin)}
    Keyring(Settings(data=tmp_path, governance=keys)).ensure()  # type: ignore[arg-type]
    made(token)
    assert re.fullmatch(r"[0-9a-f]{64}", (tmp_path / "ray-token").read_text())


def test_the_variables_reach_a_shell_as_they_are_written() -> None:
    (loop,) = re.findall(r"^while .*$", (FOLDER / "README.md").read_text(), re.MULTILINE)
    program = f"{loop}; {sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))'"
    run = subprocess.run(
        ["bash", "-c", program], cwd=FOLDER, capture_output=True, text=True, check=True
    )
    assert _variables().items() <= json.loads(run.stdout).items()


def test_the_stores_are_those_of_the_variables() -> None:
    compose = _yaml("stores.compose.yaml")
    services = compose["services"]
    variables = " ".join(_variables().values())
    for host, port in (("postgres", 5432), ("milvus", 19530), ("s3", 9000)):
        assert f"127.0.0.1:{port}" in variables
        assert f"127.0.0.1:{port}:{port}" in services[host]["ports"]
        assert "healthcheck" in services[host]
    for name, service in services.items():
        assert re.search(r":(?!latest)[\w.-]*\d", service["image"]), name
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), name
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert source in compose["volumes"] or (FOLDER / source).exists(), source


def test_no_file_holds_a_secret() -> None:
    for path in FOLDER.rglob("*"):
        if path.is_file():
            assert not re.search(r"mk_\w+_\w{16}_|(?i:password): *[\"']?\w", path.read_text()), path
    assert not _variables()["MEMOS_GOVERNANCE__SIGNING_KEY"]


def _exported() -> set[str]:
    shown = HttpMetrics().render({}).decode()
    kinds = re.findall(r"^# TYPE (\S+) (\w+)$", shown, re.MULTILINE)
    found: set[str] = set()
    for name, kind in kinds:
        ends = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        found.update(name + end for end in ends)
    return found


def test_the_board_shows_metrics_that_exist() -> None:
    board = json.loads((FOLDER / "grafana" / "memos.json").read_text())
    used: set[str] = set()
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        for target in panel["targets"]:
            used.update(_METRIC.findall(target["expr"]))
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken and place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
    assert used <= _exported()
    assert {name for name in _exported() if name.startswith("memos_shard")} <= used
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_prometheus_scrapes_the_door_and_its_alerts_exist() -> None:
    config = _yaml("prometheus.yml")
    (job,) = config["scrape_configs"]
    assert job["metrics_path"] == "/metrics"
    port = _yaml("memos.yaml")["http_options"]["port"]
    assert job["static_configs"] == [{"targets": [f"127.0.0.1:{port}"]}]
    (rules,) = config["rule_files"]
    for rule in _yaml(rules)["groups"][0]["rules"]:
        used = set(_METRIC.findall(rule["expr"]))
        assert used <= _exported(), rule["alert"]
        assert used or "up{" in rule["expr"]
        assert rule["expr"].count("(") == rule["expr"].count(")")
        assert rule["annotations"]["summary"]


def test_the_image_copies_what_is_there() -> None:
    text = (FOLDER / "Dockerfile").read_text()
    for line in re.findall(r"^COPY (?:--\S+ )*(.+)$", text, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (FOLDER.parent / source).exists(), source
