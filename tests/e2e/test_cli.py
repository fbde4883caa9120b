"""The command line against a real cluster, as a shell would use it."""

from __future__ import annotations

import ipaddress
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from typer.testing import CliRunner

from memos_ray import MemOS
from memos_ray.cli.main import app
from memos_ray.cluster.folder import DataFolder
from memos_ray.testing.processes import family, free_port, living, wait_until_gone

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]
COMMAND = [sys.executable, "-P", "-m", "memos_ray.cli"]
FACT = "The spare key hangs behind the blue door"


class Shell:
    """Runs commands on one data folder."""

    def __init__(self, data: Path) -> None:
        self.data = data

    def __call__(self, *arguments: str, code: int = 0, key: str = "") -> dict[str, Any]:
        """Runs a command with `--json`; returns its document, or its problem when it is to fail."""
        environment = os.environ | ({"MEMOS_CLIENT__API_KEY": key} if key else {})
        done = subprocess.run(
            [*COMMAND, *arguments, "--data", str(self.data), "--json"],
            capture_output=True,
            text=True,
            env=environment,
            timeout=300,
        )
        return _document(done.returncode, done.stdout, done.stderr, code)

    def here(self, *arguments: str, code: int = 0, key: str = "") -> dict[str, Any]:
        """Runs a command in this process, which spares it the seconds in which a new one starts."""
        environment = {"MEMOS_CLIENT__API_KEY": key} if key else {}
        done = CliRunner(env=environment).invoke(
            app, [*arguments, "--data", str(self.data), "--json"]
        )
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return _document(done.exit_code, done.stdout, done.stderr, code)

    def up(self) -> dict[str, Any]:
        """Starts the cluster in the background on any free port."""
        return self("up", "--detach", "--port", "0")


def _document(exit_code: int, out: str, problem: str, code: int) -> dict[str, Any]:
    assert exit_code == code, problem[-3000:]
    assert bool(out) is (code == 0), "one document on success, nothing else"
    found: dict[str, Any] = json.loads(out or problem)
    return found


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A running cluster, which is stopped in the end, whatever happened."""
    made = Shell(tmp_path_factory.mktemp("memos"))
    try:
        made.up()
        yield made
    finally:
        made("down", "--kill")


def _open(process: psutil.Process) -> int | None:
    """Returns a port at which a process listens to other machines."""
    for connection in process.net_connections():
        address = ipaddress.ip_address(connection.laddr.ip) if connection.laddr else None
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        if connection.status == psutil.CONN_LISTEN and address and not address.is_loopback:
            return int(connection.laddr.port)
    return None


def test_everything_is_for_this_user_and_this_machine_only(shell: Shell) -> None:
    status = shell("status")
    assert status["health"]["status"] == "ok"
    keys = list((shell.data / "keys").iterdir())
    assert len(keys) == 3
    assert all(key.stat().st_mode & 0o777 == 0o600 for key in keys)
    open_to_all: dict[str, int] = {}
    for process in family(status["cluster"]["pid"]):
        # What was started for a moment only has ended by now.
        with suppress(psutil.NoSuchProcess):
            if port := _open(process):
                open_to_all[process.name()] = port
    # Ray Serve binds the port between deployments to all interfaces; it asks for Ray's token.
    assert list(open_to_all) == ["ray::ServeReplica:memos:gateway"]
    with grpc.insecure_channel(f"127.0.0.1:{open_to_all.popitem()[1]}") as channel:
        call = channel.unary_unary("/ray.serve.ASGIService/HandleRequest")
        with pytest.raises(grpc.RpcError) as refused:
            call(b"", timeout=60)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_every_verb_works(shell: Shell, tmp_path: Path) -> None:
    id = shell("add", FACT, "--tag=home", "--speaker=Ana")["id"]
    assert shell.here("get", id)["text"] == FACT
    hits = shell.here("search", "where is the spare key?", "--explain", "--wait-indexed")["hits"]
    assert hits[0]["memory"]["id"] == id and hits[0]["signals"]
    assert shell.here("update", id, "The spare key is with Tom", "--mode=overwrite")["version"] == 2
    shell("update", id, "late", "--expected-version=1", code=5)
    assert "+The spare key is with Tom" in shell.here("diff", id, "1", "2")["text"]
    assert shell.here("rollback", id, "1")["version"] == 3
    assert [one["number"] for one in shell.here("history", id)["versions"]] == [3, 2, 1]
    shell.here("freeze", id)
    shell.here("delete", id, code=5)
    shell.here("unfreeze", id)
    shell.here("delete", id)
    shell.here("restore", id)
    shell.here("principal", "create", "agent:planner")
    key = shell.here("key", "create", "agent:planner")
    shell.here("share", id, "--reader=agent:planner")
    assert shell("get", id, key=key["secret"])["text"] == FACT
    shell.here("key", "revoke", key["id"])
    shell("get", id, key=key["secret"], code=4)
    assert key["id"] in [one["id"] for one in shell.here("key", "list")["keys"]]
    note = tmp_path / "note.md"
    note.write_text("# Boats\n\nA boat needs paint.\n")
    assert shell.here("ingest", str(note), "--tag=boats")["stored"] == 1
    assert len(shell.here("list", "--tag=boats")["memories"]) == 1
    assert shell.here("log", "--memory", id)["entries"]


def test_a_driver_joins_the_cluster(shell: Shell) -> None:
    id = shell("add", "Drivers see this")["id"]
    address = shell("status")["cluster"]["ray_address"]
    assert shell("get", id, "--address", address)["text"] == "Drivers see this"


def test_API_1_an_answer_may_be_longer_than_grpc_carries_by_default(shell: Shell) -> None:
    folder, url = DataFolder(shell.data), shell("status")["cluster"]["url"]
    with MemOS(url=url, api_key=folder.admin_key.read_text().strip()) as memos:
        memos.admin.create_namespace("user:admin/long", kind="user_private")
        long = [{"text": f"{number} {'7' * 95_000}"} for number in range(50)]
        assert not memos.add(long, "user:admin/long").failed
        listed = memos.list("user:admin/long", limit=50).memories
        assert sum(len(memory.text) for memory in listed) > 4 << 20


def test_one_cluster_runs_on_a_folder_and_on_a_port(shell: Shell, tmp_path: Path) -> None:
    running = shell("status")["cluster"]
    assert shell("up", code=7)["details"]["pid"] == running["pid"]
    port = running["url"].rpartition(":")[2]
    elsewhere = Shell(tmp_path / "other")
    assert elsewhere("up", "--detach", "--port", port, code=8)["code"] == "configuration"
    assert elsewhere("down") == {"stopped": False, "pid": None}


def test_the_doctor_finds_nothing_wrong(shell: Shell) -> None:
    findings = {one["check"]: one for one in shell("doctor")["findings"]}
    assert not [one for one in findings.values() if one["grade"] == "fail"]
    assert findings["ray"]["found"].endswith("on loopback only")
    assert "is well" in findings["cluster"]["found"]


def test_a_killed_cluster_leaves_its_data_and_nothing_else(shell: Shell) -> None:
    id = shell("add", "Written just before the end")["id"]
    killed = shell("status")["cluster"]["pid"]
    members = family(killed)
    os.kill(killed, signal.SIGKILL)
    wait_until_gone(members)
    shell("status", code=6)
    assert shell.up()["pid"] != killed
    assert shell("get", id)["text"] == "Written just before the end"
    assert shell("search", "spare key")["hits"]


def test_a_stopped_cluster_is_gone(shell: Shell) -> None:
    running = shell("status")["cluster"]["pid"]
    members = family(running)
    assert shell("down") == {"stopped": True, "pid": running}
    assert living(members) == []
    assert shell("down") == {"stopped": False, "pid": None}
    assert not (shell.data / "run" / "cluster.json").exists()


def test_the_foreground_stops_cleanly_from_the_keyboard(tmp_path: Path) -> None:
    command = [*COMMAND, "up", "--port", str(free_port()), "--data", str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert "answers at http://127.0.0.1:" in process.stdout.readline()
        members = family(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 0
        assert process.stderr.read() == ""
    assert living(members) == []
