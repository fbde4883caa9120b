"""The clustered installation, as `deployments/` describes it: PostgreSQL, S3, several gateways."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pyarrow.fs
import pytest
import yaml

from memos_ray import MemOS, PermissionDeniedError
from memos_ray.core.access import keys
from memos_ray.testing.postgres_server import PostgresServer
from memos_ray.testing.processes import end, free_port, tied
from memos_ray.testing.s3_server import S3Server, S3UnavailableError
from tests.e2e.scenario import Teller

pytestmark = pytest.mark.e2e

# `serve run FILE` on a node that has a CPU for each actor, whatever this machine has, and that is
# started anew where the machine is too busy for it.
_SERVE_RUN = """
import sys
from memos_ray.cluster.folder import DataFolder
from memos_ray.cluster.ray_node import start_node
from memos_ray.cluster.scratch import scratch_folder
from memos_ray.config import Settings
from ray.serve.scripts import cli
settings = Settings(cluster_cpus=16, namespace="serve")
folder = DataFolder(settings.data)
folder.create()
start_node(settings, scratch_folder(folder))
cli(["run", sys.argv[1]])
"""
FOLDER = Path(__file__).parents[2] / "deployments"


@dataclass(frozen=True, slots=True)
class Installation:
    """Where the REST door is, and the first administrator's key."""

    url: str
    admin_key: str
    process: int


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    try:
        server = S3Server()
        server.start()
    except S3UnavailableError as error:
        pytest.skip(f"no S3 server here: {error}")
    yield server
    server.stop()


def _environment(data: Path, postgres: PostgresServer, s3: S3Server) -> dict[str, str]:
    """Fills the variables of `memos.env` in for this machine."""
    lines = (FOLDER / "memos.env").read_text().splitlines()
    given = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    del given["MEMOS_VECTORS__URI"], given["RAY_AUTH_MODE"], given["RAY_AUTH_TOKEN_PATH"]
    bucket = f"endpoint_override={s3.endpoint}&scheme=http&region=us-east-1"
    return {
        **given,
        "MEMOS_DATA": str(data),
        "MEMOS_RECORDS__URL": postgres.new_database(),
        "MEMOS_VECTORS__ENABLED": "false",
        "MEMOS_BLOBS__URI": f"s3://memos/blobs?{bucket}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "MEMOS_VAULT__PARTITIONS": "8",
        "MEMOS_VAULT__SHARDS": "2",
        "MEMOS_GOVERNANCE__SIGNING_KEY": base64.b64encode(os.urandom(32)).decode(),
        "MEMOS_GOVERNANCE__ADMIN_KEY": keys.mint("default", os.urandom(42)).secret,
        "MEMOS_EMBEDDER__KIND": "custom",
        "MEMOS_EMBEDDER__FACTORY": "memos_ray.testing.embedders:HashingEmbedder",
    }


def _bucket(s3: S3Server) -> pyarrow.fs.S3FileSystem:
    files = pyarrow.fs.S3FileSystem(
        endpoint_override=s3.endpoint,
        scheme="http",
        region="us-east-1",
        access_key="key",
        secret_key="secret",
        allow_bucket_creation=True,
    )
    files.create_dir("memos")
    return files


@pytest.fixture(scope="module")
def installation(
    tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer, s3: S3Server
) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("clustered")
    _bucket(s3)
    config = yaml.safe_load((FOLDER / "memos.yaml").read_text())
    config["http_options"]["port"] = free_port()
    file = folder / "memos.yaml"
    file.write_text(yaml.safe_dump(config))
    variables = _environment(folder / "data", postgres, s3)
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            tied([sys.executable, "-c", _SERVE_RUN, str(file)], os.getpid()),
            env={**os.environ, **variables, "PYTHONWARNINGS": "ignore"},
            stdout=output,
            stderr=output,
        )
    url = f"http://127.0.0.1:{config['http_options']['port']}"
    try:
        _wait_until_ready(url, process, log)
        yield Installation(url, variables["MEMOS_GOVERNANCE__ADMIN_KEY"], process.pid)
    finally:
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        end(process, 30.0)
        for one in family:
            if one.is_running():
                one.kill()


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 240
    with httpx.Client(trust_env=False, timeout=5.0) as client:
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if client.get(f"{url}/readyz").is_success:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.2)
    pytest.fail(f"the installation does not get ready: {log.read_text()[-3000:]}")


def test_the_story_is_told_by_several_gateways(installation: Installation) -> None:
    with MemOS(url=installation.url, api_key=installation.admin_key) as operator:
        names = {one.name for one in operator.health().components}
        assert names == {"policy", "supervisor", "shard-0", "shard-1"}
        tenant = operator.admin.create_tenant("story")
        story = dict(Teller(operator.with_key(tenant.secret or "")).tell())
    assert story["what failed"] == ["invalid_input", "already_exists", "invalid_input"]
    assert story["resumed"] == [50, 20, 29, 1]
    assert story["stranger reads"][1] == "not_found"
    assert story["a revoked key"][1] == "unauthenticated"


def test_each_gateway_counts_for_itself(installation: Installation) -> None:
    replicas: set[str] = set()
    deadline = time.monotonic() + 240
    with httpx.Client(base_url=installation.url, trust_env=False, timeout=60) as client:
        # Which one answers is chance, and the second may be starting still.
        while len(replicas) < 2:
            assert time.monotonic() < deadline, replicas
            text = client.get("/metrics").text
            replicas |= {part.split('"')[1] for part in text.split("replica=")[1:]}
    assert len(replicas) == 2


def test_attachments_lie_in_the_bucket(installation: Installation, s3: S3Server) -> None:
    picture = "data:image/png;base64," + base64.b64encode(b"a picture in a bucket").decode()
    part = {"type": "image_url", "image_url": {"url": picture}}
    body: dict[str, Any] = {"content": [{"role": "user", "content": [part]}]}
    headers = {"Authorization": f"Bearer {installation.admin_key}"}
    with httpx.Client(
        base_url=installation.url, headers=headers, trust_env=False, timeout=60
    ) as client:
        report = client.post("/v1/ingest", json=body).json()
    assert (report["stored"], report["unkept_attachments"]) == (1, 0)
    listed = _bucket(s3).get_file_info(pyarrow.fs.FileSelector("memos/blobs", recursive=True))
    assert [one for one in listed if one.is_file]


def test_an_agent_cannot_administer(installation: Installation) -> None:
    with MemOS(url=installation.url, api_key=installation.admin_key) as operator:
        agent = operator.as_principal("agent:worker")
        with pytest.raises(PermissionDeniedError):
            agent.admin.create_principal("agent:worker", ["admin"])
