"""Runs a server in this process, or in the background.

The background process reports through a pipe, in one line: the running cluster, or the problem that
kept it from starting.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from types import FrameType
from typing import TYPE_CHECKING, BinaryIO, NoReturn

import orjson
import typer

from memos_ray.cli.cluster.ports import free_port
from memos_ray.cli.exits import ExitCode
from memos_ray.cluster.announcement import RunningCluster
from memos_ray.cluster.folder import DataFolder, FolderLock
from memos_ray.cluster.ray_token import use_ray_token
from memos_ray.config import Settings
from memos_ray.errors import MemosError, UnavailableError

if TYPE_CHECKING:
    from memos_ray.cli.cluster.server import Server

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_WATCH_S = 1.0
_OWNER_ONLY = 0o077
_PATIENCE_S = 30.0


def run(settings: Settings, ready: Callable[[RunningCluster], None]) -> None:
    """Runs a server until a signal asks it to stop.

    Args:
        ready: called once requests are answered.

    Raises:
        MemosError: it does not start, or a process of Ray's own has ended.
    """
    _look_first(settings)
    # Logs and sockets of Ray, and the databases, are for this user only.
    os.umask(_OWNER_ONLY)
    # Ray looks at its environment when it is imported.
    use_ray_token(DataFolder(settings.data))
    from memos_ray.cli.cluster.server import Server

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    for number in _SIGNALS:
        signal.signal(number, _leave)
    server = Server(settings)
    try:
        running = server.start()
    except (SystemExit, KeyboardInterrupt):
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    stop = threading.Event()
    for number in _SIGNALS:
        # Again, since Ray has put a handler of its own there.
        signal.signal(number, lambda _number, _frame: stop.set())
    try:
        ready(running)
        broken = _watch(server, stop)
    except BaseException:
        server.stop()
        raise
    if broken is None:
        server.stop()
        return
    server.abandon()
    # Ray's own handlers would wait a minute for what is gone; the last one registered goes first.
    atexit.register(os._exit, ExitCode.UNAVAILABLE)
    raise UnavailableError("a process of Ray has ended, so the cluster ends", process=broken)


def run_reporting(settings: Settings, descriptor: int) -> None:
    """Runs a server that tells whoever waits at the other end of a pipe how its start went."""
    os.set_inheritable(descriptor, False)
    pipe = os.fdopen(descriptor, "wb")

    def report(**document: object) -> None:
        # Whoever has waited may be gone; the server goes on all the same.
        with contextlib.suppress(BrokenPipeError), pipe:
            pipe.write(orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE))

    try:
        run(settings, lambda running: report(running=asdict(running)))
    except MemosError as error:
        if not pipe.closed:
            from memos_ray.gateway.memories.mapping import problem_of

            report(problem=problem_of(error).model_dump(mode="json"))
        raise


def start_detached(settings: Settings) -> RunningCluster:
    """Runs a server in the background; returns once requests are answered.

    Raises:
        MemosError: what kept it from starting.
    """
    _look_first(settings)
    folder = DataFolder(settings.data)
    reader, writer = os.pipe()
    command = [sys.executable, "-P", "-m", "memos_ray.cli", "up"]
    command += ["--data", str(folder.root.absolute()), "--port", str(settings.gateway.port)]
    command += ["--report-to", str(writer)]
    with open(reader, "rb") as report:
        try:
            with _fresh_log(folder) as log:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(writer,),
                    start_new_session=True,
                )
        finally:
            os.close(writer)
        try:
            line = report.readline()
        except KeyboardInterrupt:
            process.terminate()
            process.wait(_PATIENCE_S)
            raise
    found = orjson.loads(line) if line.endswith(b"\n") else {}
    if "running" in found:
        return RunningCluster(**found["running"])
    status = process.wait(_PATIENCE_S)
    if "problem" in found:
        from memos_ray.gateway.problem_model import Problem
        from memos_ray.gateway.problems import error_of_problem

        raise error_of_problem(Problem.model_validate(found["problem"]))
    raise UnavailableError(
        "the cluster ended before it was ready; its log says why",
        log=str(folder.log),
        status=status,
    )


def _look_first(settings: Settings) -> None:
    """Finds out what stands in the way before anything slow is loaded.

    The start itself makes sure again, with the lock in hand.
    """
    folder = DataFolder(settings.data)
    folder.create()
    with FolderLock(folder):
        free_port(settings)


def _fresh_log(folder: DataFolder) -> BinaryIO:
    """Opens an empty log; the one of the run before is kept beside it."""
    if folder.log.exists():
        folder.log.replace(folder.log.with_suffix(".log.1"))
    return open(os.open(folder.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def _watch(server: Server, stop: threading.Event) -> str | None:
    """Waits until it is to stop; returns the process of Ray's that has ended before, if one has."""
    while not stop.wait(_WATCH_S):
        if (part := server.broken()) is not None:
            return part
    return None


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(ExitCode.INTERRUPTED)
