"""A real PostgreSQL server for tests, on loopback, as an unprivileged user of its own.

It is set up to be a hard host: text sorts by the rules of English unless a column says otherwise,
and commits may be forgotten unless a session says otherwise. What the kernel holds survives the
server, so nothing is forced to disk.
"""

from __future__ import annotations

import os
import pwd
import resource
import secrets
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from memos_ray.testing.processes import end, free_port, limit_files, tied

_INSTALLED = Path("/usr/lib/postgresql")
_START_S = 120.0
_STOP_S = 15.0
_USER = "memos"
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C.UTF-8"}
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "wal_writer_delay": "10s",
    "deadlock_timeout": "100ms",
    "shared_buffers": "32MB",
    "max_connections": "200",
}


class PostgresUnavailableError(Exception):
    """PostgreSQL is not installed, or its server does not run here."""


class PostgresServer:
    """One server on a folder of its own; keeps its port and data over a restart.

    Start it from the main thread.
    """

    def __init__(self) -> None:
        """Makes an empty cluster of databases.

        Raises:
            PostgresUnavailableError: when it is not installed or refuses.
        """
        self._binaries = _newest()
        self._user = _unprivileged()
        self._port = free_port()
        self._password = secrets.token_urlsafe(16)
        self._process: subprocess.Popen[bytes] | None = None
        self._count = 0
        # Not below a folder of the test run, which the server's user may not enter.
        self._folder = Path(tempfile.mkdtemp(prefix="memos-ray-postgres-"))
        self._data = self._folder / "data"
        try:
            self._initialise()
        except BaseException:
            shutil.rmtree(self._folder)
            raise

    def start(self) -> None:
        """Starts and waits until it answers.

        Raises:
            PostgresUnavailableError: when it ends or does not get ready in time.
        """
        chosen = _SETTINGS | {"port": str(self._port)}
        command = [str(self._binaries / "postgres"), "-D", str(self._data)]
        for name, value in chosen.items():
            command += ["-c", f"{name}={value}"]
        with (self._folder / "server.log").open("ab") as output:
            self._process = subprocess.Popen(
                tied(command, os.getpid(), self._user),
                cwd="/",
                env=_ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + _START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise PostgresUnavailableError(f"the server does not start: {self._last_words()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stops it and removes all of its data; safe when it does not run."""
        if self._process is not None:
            end(self._process, _STOP_S)
            self._process = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def kill(self) -> None:
        """Kills the server and all its sessions with SIGKILL."""
        if self._process is not None:
            family = self._family()
            for process in family:
                process.kill()
            self._process.wait()
            psutil.wait_procs(family[1:], _STOP_S)
            self._process = None

    def new_database(self) -> str:
        """Makes an empty database and returns its URL, password included."""
        self._count += 1
        name = f"memos_{self._count}"
        with self.connect("postgres") as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql://{_USER}:{self._password}@127.0.0.1:{self._port}/{name}"

    def connect(self, database: str) -> Any:
        """Opens a psycopg connection of the superuser's, outside of any transaction.

        Args:
            database: name or URL of a database.
        """
        import psycopg

        return psycopg.connect(
            host="127.0.0.1",
            port=self._port,
            user=_USER,
            password=self._password,
            dbname=database.rpartition("/")[2],
            connect_timeout=30,
            autocommit=True,
        )

    def limit_files(self, size_bytes: int) -> None:
        """Lets no file of the server grow beyond a size, as a full disk would not.

        Args:
            size_bytes: no multiple of the page size, or PostgreSQL takes it for another fault.
        """
        limit_files([process.pid for process in self._family()], size_bytes, self._user)

    def unlimit_files(self) -> None:
        """Takes the limit back."""
        self.limit_files(resource.RLIM_INFINITY)

    def _initialise(self) -> None:
        password = self._folder / "password"
        password.touch(mode=0o600)
        password.write_text(self._password)
        if self._user is not None:
            for path in (self._folder, password):
                os.chown(path, self._user.pw_uid, self._user.pw_gid)
        command = [
            str(self._binaries / "initdb"),
            f"--pgdata={self._data}",
            f"--username={_USER}",
            f"--pwfile={password}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--locale-provider=icu",
            "--icu-locale=en",
            "--wal-segsize=1",
            "--no-sync",
        ]
        made = subprocess.run(
            tied(command, os.getpid(), self._user),
            cwd="/",
            env=_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        password.unlink()
        if made.returncode:
            raise PostgresUnavailableError(f"initdb fails: {made.stderr[-500:]}")

    def _family(self) -> list[psutil.Process]:
        if self._process is None:
            return []
        server = psutil.Process(self._process.pid)
        return [server, *server.children(recursive=True)]

    def _answers(self) -> bool:
        import psycopg

        try:
            self.connect("postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def _last_words(self) -> str:
        return (self._folder / "server.log").read_text(errors="replace")[-500:]


def _newest() -> Path:
    """Returns the folder of the newest server that is installed."""
    found = [
        binary.parent
        for binary in _INSTALLED.glob("*/bin/postgres")
        if binary.parent.parent.name.isdecimal()
    ]
    if not found:
        raise PostgresUnavailableError(f"no PostgreSQL below {_INSTALLED}")
    return max(found, key=lambda folder: int(folder.parent.name))


def _unprivileged() -> pwd.struct_passwd | None:
    """Returns whom the server runs as; none for whoever runs the tests, unless that is root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise PostgresUnavailableError("there is no unprivileged user to run the server as")
