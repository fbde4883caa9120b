"""The parts that a cluster is made of, each tried for real."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from memos_ray.adapters.milvus import MilvusSettings, open_vector_store
from memos_ray.adapters.sql.checks import named
from memos_ray.adapters.sql.probes import (
    archive_files_aside,
    commits_per_second,
    memories_damaged,
)
from memos_ray.cli.checks import ray_trial
from memos_ray.cli.checks.finding import Finding, fail, ok, warn
from memos_ray.cli.checks.machine import existing
from memos_ray.cluster import assembly
from memos_ray.cluster.folder import DataFolder
from memos_ray.config import Settings
from memos_ray.core.cube.predicate import Everything
from memos_ray.core.lifecycle.archive import KIND, Contents, Standing
from memos_ray.core.retrieval.space import EmbeddingSpace
from memos_ray.core.vault.log import CubeKey
from memos_ray.errors import MemosError
from memos_ray.ports import VectorRecord

_SLOW_COMMITS = 30.0
_RAY_TIMEOUT_S = 180.0
_SPACE = EmbeddingSpace("doctor", 4, "d0c708")


def embedder(settings: Settings) -> Iterator[Finding]:
    """Embeds a text."""
    try:
        made = assembly.embedder(settings.embedder)
        vector = np.asarray(made.embed(["is anybody there?"]))[0]
    except MemosError as error:
        advice = "install memos-ray[embedder], or see MEMOS_EMBEDDER__… in docs/settings.md"
        yield fail("embedder", str(error), advice)
        return
    if np.isfinite(vector).all() and np.any(vector):
        yield ok("embedder", f"{made.space.name}, {made.space.dim} dimensions")
    else:
        yield fail("embedder", f"{made.space.name} gives no usable vector", "check the model")


def record_store(settings: Settings) -> Iterator[Finding]:
    """Commits to SQLite where the data lies, or reaches PostgreSQL."""
    if settings.records.url is not None:
        try:
            assembly.control_store(settings).close()
        except MemosError as error:
            yield fail("postgresql", str(error), "check MEMOS_RECORDS__URL and the server")
        else:
            yield ok("postgresql", "answers")
        return
    try:
        rate = commits_per_second(existing(settings.data))
    except (MemosError, OSError) as error:
        yield fail("sqlite", str(error), "the folder must be on a local disk that may be written")
        return
    found = f"WAL, {rate:.0f} flushed commits/s"
    if rate < _SLOW_COMMITS:
        yield warn("sqlite", found, "lone writes will be slow: use a faster disk, no network one")
    else:
        yield ok("sqlite", found)


def archive(settings: Settings) -> Iterator[Finding]:
    """Counts files of the archive that could not be read and are set aside."""
    files = sorted(DataFolder(settings.data).records.glob("p[0-9]*.sqlite"))
    try:
        if settings.records.url is not None:
            aside = _set_aside(settings)
        else:
            aside = sum(map(archive_files_aside, files))
    except MemosError as error:
        yield fail("archive", str(error), "see the record store")
        return
    if aside:
        advice = "bring the blobs back from a backup; the next start takes them up again"
        yield warn("archive", f"{aside} files are damaged or lost", advice)
    else:
        yield ok("archive", "no file is set aside")


def memories(settings: Settings) -> Iterator[Finding]:
    """Reads all memories, to find those that are damaged."""
    files = sorted(DataFolder(settings.data).records.glob("p[0-9]*.sqlite"))
    places: list[Path | str] = [*files]
    if settings.records.url is not None:
        places = [settings.records.url.get_secret_value()]
    try:
        ids = [id for place in places for id in memories_damaged(place)]
    except MemosError as error:
        yield fail("memories", str(error), "see the record store")
        return
    if ids:
        advice = "erase them, or bring the record store back from a backup"
        yield warn("memories", f"{len(ids)} cannot be read, all others can: {named(ids)}", advice)
    else:
        yield ok("memories", "all can be read")


def _set_aside(settings: Settings) -> int:
    store = assembly.record_store(settings)
    try:
        rows = (
            row
            for partition in range(settings.vault.partitions)
            for row in store.derivations(partition, KIND)
        )
        return sum(Contents.from_bytes(row.body).standing is Standing.DAMAGED for row in rows)
    finally:
        store.close()


def vector_store(settings: Settings) -> Iterator[Finding]:
    """Writes to Milvus Lite and searches it, or reaches the Milvus server."""
    chosen = settings.vectors
    if not chosen.enabled:
        yield ok("milvus", "switched off: shards rank what fits in their memory only")
    elif chosen.uri is not None:
        yield from _milvus_server(settings)
    else:
        yield from _milvus_lite()


def ray() -> Iterator[Finding]:
    """Starts Ray in a process of its own, runs a task and stops it; nothing stays behind."""
    with tempfile.TemporaryDirectory(prefix="memos-ray-") as folder:
        command = [sys.executable, "-P", "-m", ray_trial.__name__, folder]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_RAY_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            advice = "the machine is overloaded, or a firewall blocks loopback"
            yield fail("ray", f"no answer after {_RAY_TIMEOUT_S:.0f} s", advice)
            return
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        yield fail("ray", last[:300], "check memory, /dev/shm and the limits above")
        return
    report = json.loads(done.stdout.splitlines()[-1])
    if report["loopback"]:
        yield ok("ray", f"{report['version']} starts, on loopback only")
    else:
        advice = "unset RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
        yield warn("ray", f"{report['version']} listens on all interfaces", advice)


def _milvus_lite() -> Iterator[Finding]:
    try:
        with tempfile.TemporaryDirectory(prefix="memos-milvus-") as folder:
            store = open_vector_store(str(Path(folder) / "store"))
            try:
                store.prepare(_SPACE)
                store.drop(_SPACE, 0)
                vector = np.array([1, 0, 0, 0], dtype=np.float32)
                key = CubeKey("doctor", "one")
                store.upsert(_SPACE, [VectorRecord(0, key, "doctor", 1, {}, vector)])
                hits = store.search(_SPACE, 0, "doctor", "doctor", Everything(), vector, 1)
            finally:
                store.close()
    except (MemosError, ImportError) as error:
        yield fail("milvus", str(error), "install memos-ray[milvus-lite]")
        return
    if [hit for hit, _ in hits] == ["one"]:
        yield ok("milvus", "Lite stores and finds")
    else:
        yield fail("milvus", "Lite does not find what it stored", "reinstall milvus-lite")


def _milvus_server(settings: Settings) -> Iterator[Finding]:
    chosen = settings.vectors
    token = chosen.token.get_secret_value() if chosen.token else ""
    try:
        store = open_vector_store(
            chosen.uri or "", MilvusSettings(token=token, search_s=chosen.timeout_s)
        )
        try:
            store.needs_rebuild(_SPACE, 0)
        finally:
            store.close()
    except (MemosError, ImportError) as error:
        yield fail("milvus", str(error), "check MEMOS_VECTORS__URI, the token and the server")
    else:
        yield ok("milvus", f"{chosen.uri} answers")
