"""The process that ends what a killed cluster leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from memos_ray.cluster.sweeper import Sweeper, members

# A process that runs a "node" with two children, as Ray does, and a child of its own beside it.
# Each child keeps the pipe open, so that the pipe is at its end when all of them are gone.
OWNER = """
import os, subprocess, sys, time
from memos_ray.cluster.sweeper import Sweeper, members
raylet, node_pipe, own_pipe = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
sweeper = Sweeper()
own = subprocess.Popen(["sleep", "600"], pass_fds=(own_pipe,))
node = subprocess.Popen([raylet, "-c", "sleep 600 & sleep 600 & wait"], pass_fds=(node_pipe,))
def sleeps():
    status = open(f"/proc/{sweeper.pid}/status").read()
    return int(status.partition("\\nvoluntary_ctxt_switches:")[2].split()[0])
while len(members(os.getpid())) < 2:
    time.sleep(0.05)
before = sleeps()
while sleeps() < before + 3:  # it has looked again since
    time.sleep(0.05)
print("ready", own.pid, node.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def raylet(tmp_path: Path) -> Path:
    """A shell by the name of Ray's node."""
    link = tmp_path / "raylet"
    link.symlink_to("/bin/sh")
    return link


def test_it_ends_the_children_of_a_node_when_its_owner_is_killed(raylet: Path) -> None:
    with ExitStack() as stack:
        node_read, node_write = os.pipe()
        own_read, own_write = os.pipe()
        owner = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", OWNER, str(raylet), str(node_write), str(own_write)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=(node_write, own_write),
                text=True,
            )
        )
        os.close(node_write)
        os.close(own_write)
        assert owner.stdout is not None
        _, own, node = owner.stdout.readline().split()
        stack.callback(os.kill, int(own), 9)
        owner.kill()
        os.kill(int(node), 9)
        with open(node_read, "rb") as pipe:
            assert pipe.read() == b"", "the node's children are gone"
        os.set_blocking(own_read, False)
        with pytest.raises(BlockingIOError):
            os.read(own_read, 1)
        os.close(own_read)


def test_a_process_without_a_node_has_no_members() -> None:
    with subprocess.Popen(["sleep", "600"]) as other:
        assert members(os.getpid()) == set()
        other.kill()


def test_closing_twice_does_nothing_more() -> None:
    sweeper = Sweeper()
    sweeper.close()
    sweeper.close()
