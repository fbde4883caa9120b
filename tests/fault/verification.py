"""Compares a cluster, and then its files, with what was acknowledged."""

from __future__ import annotations

import time
from collections.abc import Iterator

from memos_ray import MemOS
from memos_ray.adapters.milvus import MilvusSettings, open_vector_store
from memos_ray.cluster.folder import DataFolder
from memos_ray.core.cube.predicate import Everything
from memos_ray.testing.embedders import HashingEmbedder
from tests.fault.audit import Place, Stored, audit
from tests.fault.ledger import Expected, Kept, Ledger

_PARTITIONS = 16
_SEARCHED = 40
_INDEXED_S = 240.0
_PAGE = 500
_MOST_ROWS = 16_384
_ANYWHERE = HashingEmbedder().embed(["entry"])[0]


def verify_running(memos: MemOS, ledger: Ledger, contested: Expected) -> list[str]:
    """Looks through the SDK; returns a sentence for each difference."""
    contested.lines += [ledger.race[version] for version in sorted(ledger.race)]
    contested.version += len(ledger.race)
    expected = {**ledger.memories, contested.id: contested}
    wrong = list(ledger.complaints)
    if sorted(ledger.race) != list(range(2, contested.version + 1)):
        wrong.append("the contested memory has versions that nobody was told of")
    for namespace in sorted({memory.namespace for memory in expected.values()}):
        wrong += _namespace(memos, namespace, expected, ledger)
    for memory in expected.values():
        if memory.kept is not Kept.ERASED and len(wrong) < 20:
            history = memos.history(memory.id, namespace=memory.namespace, limit=1000)
            numbers = [version.number for version in history.versions]
            if numbers != list(range(memory.version, 0, -1)):
                wrong.append(f"{memory.id}: the history is {numbers}")
    return wrong


def wait_until_indexed(memos: MemOS) -> list[str]:
    """Waits until nothing is left to embed and to index; says so when that takes for ever."""
    deadline = time.monotonic() + _INDEXED_S
    while True:
        shards = [one for one in memos.health().components if one.name.startswith("shard-")]
        behind = [
            one.name
            for one in shards
            if one.status != "ok" or one.detail["lag"] or one.detail["index_lag"]
        ]
        if shards and not behind:
            return []
        if time.monotonic() > deadline:
            return [f"{' and '.join(behind)} did not index everything"]
        time.sleep(0.2)


def verify_files(folder: DataFolder, ledger: Ledger, contested: Expected) -> list[str]:
    """Looks into the files of a stopped cluster; returns a sentence for each difference."""
    stored = audit(folder.records)
    wrong = list(stored.wrong)
    wrong += _acknowledged_once(stored, ledger)
    for memory in (*ledger.memories.values(), contested):
        found = stored.heads.get(memory.id)
        if memory.kept is Kept.ERASED:
            wrong += [f"{memory.id} was erased and is there"] if found else []
            continue
        state = "deleted" if memory.kept is Kept.DELETED else "activated"
        if found != (memory.version, state, "\n".join(memory.lines)):
            wrong.append(f"{memory.id}: {found} stored, {memory} acknowledged")
    wrong += _vectors(folder, stored)
    return wrong


def _namespace(
    memos: MemOS, namespace: str, expected: dict[str, Expected], ledger: Ledger
) -> Iterator[str]:
    abandoned = set(ledger.abandoned.values())
    listed = {one.id: one for one in memos.iterate(namespace, include_deleted=True, limit=_PAGE)}
    mine = {one.id: one for one in expected.values() if one.namespace == namespace}
    there = {id: one for id, one in mine.items() if one.kept is not Kept.ERASED}
    for id in there.keys() - listed.keys():
        yield f"{there[id].lines[0]}: acknowledged and gone"
    unasked = [listed[id] for id in listed.keys() - there.keys()]
    for memory in unasked:
        if memory.text not in abandoned or memory.version != 1:
            yield f"{memory.text}: there, and not acknowledged"
    texts = [memory.text.split("\n")[0] for memory in listed.values()]
    if len(texts) != len(set(texts)):
        yield f"{len(texts) - len(set(texts))} memories of {namespace} are there twice"
    for id in there.keys() & listed.keys():
        found, wanted = listed[id], there[id]
        deleted = found.state.value == "deleted"
        if (found.version, found.text, deleted) != (
            wanted.version,
            "\n".join(wanted.lines),
            wanted.kept is Kept.DELETED,
        ):
            yield f"{wanted.lines[0]}: version {found.version}, {wanted.version} acknowledged"
    alive = {id for id, one in listed.items() if one.state.value != "deleted"}
    yield from _searches(memos, namespace, alive, [mine[id] for id in alive & mine.keys()])


def _searches(
    memos: MemOS, namespace: str, alive: set[str], memories: list[Expected]
) -> Iterator[str]:
    """The index holds what the store holds, and each memory answers to its name."""
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = memos.search(
            "entry", namespace=namespace, parse=False, limit=_PAGE, cursor=cursor, wait_indexed=True
        )
        found += [hit.memory.id for hit in page.hits]
        cursor = page.cursor
        if cursor is None:
            break
    if len(found) != len(set(found)) or set(found) != alive:
        yield f"{namespace}: {len(alive)} memories stored, {len(found)} in the index"
    for memory in memories[:: max(1, len(memories) // _SEARCHED)]:
        name = memory.lines[0].split()[1]
        hits = memos.search(name, namespace=namespace, parse=False, limit=3).hits
        if memory.id not in [hit.memory.id for hit in hits]:
            yield f"{memory.lines[0]}: stored and not found"


def _acknowledged_once(stored: Stored, ledger: Ledger) -> Iterator[str]:
    for key, answer in ledger.answers.items():
        if stored.replies.get(key) != (answer.id, answer.version):
            yield f"{key}: {stored.replies.get(key)} stored, {answer} acknowledged"
    extra = stored.replies.keys() - ledger.answers.keys() - ledger.abandoned.keys()
    if extra:
        yield f"{len(extra)} writes took effect and were never acknowledged: {sorted(extra)[:3]}"
    # What set the scene carries a key as well; nothing else has written.
    if stored.events != len(stored.replies):
        yield f"{stored.events} log entries for {len(stored.replies)} writes"


def _vectors(folder: DataFolder, stored: Stored) -> Iterator[str]:
    """Milvus holds the memories that are not deleted, and nothing else."""
    space = HashingEmbedder().space
    found: dict[Place, set[str]] = {place: set() for place in stored.alive}
    rows = 0
    for path in sorted(folder.vectors.glob("shard-?")):
        store = open_vector_store(str(path), MilvusSettings(search_s=30.0))
        try:
            rows += sum(store.count(space, partition) for partition in range(_PARTITIONS))
            for place in stored.alive:
                hits = store.search(space, *place, Everything(), _ANYWHERE, _MOST_ROWS)
                found[place] |= {cube_id for cube_id, _ in hits}
        finally:
            store.close()
    for place, ids in stored.alive.items():
        if found[place] != ids:
            yield f"{place}: {ids - found[place]} not in Milvus, {found[place] - ids} only there"
    expected = sum(map(len, stored.alive.values()))
    if rows != expected:
        yield f"Milvus holds {rows} rows for {expected} memories"
