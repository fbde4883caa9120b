"""API-2: where memories came from and what was made of them, and nothing of what is hidden."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from memos_ray.config import VaultSettings
from memos_ray.core.cube.metadata import Origin, Visibility
from memos_ray.core.pipeline.definition import read_definition
from memos_ray.core.pipeline.run import ENDED
from memos_ray.core.vault.lineage import Tie, Trigger
from memos_ray.core.vault.ring import partition_of
from memos_ray.errors import InvalidCursorError, InvalidInputError, NotFoundError
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.memories.models import MemoryChange, NewMemory, Source
from memos_ray.gateway.pipelines.models import RunRequest
from memos_ray.gateway.records.provenance_models import Direction, Provenance
from memos_ray.testing.in_process import InProcess, in_process

PLACE = "team"


@pytest.fixture
async def memos(tmp_path: Path) -> AsyncIterator[InProcess]:
    async with in_process(tmp_path, settings=VaultSettings(partitions=4)) as memos:
        await memos.namespace(PLACE)
        yield memos


async def add(
    memos: InProcess,
    id: str | None,
    *sources: str | Source,
    caller: Caller | None = None,
    namespace: str = PLACE,
    **fields: object,
) -> str:
    named = [one if isinstance(one, Source) else Source(memory_id=one) for one in sources]
    memory = NewMemory(id=id, text=f"Words of {id}.", sources=named, **fields)  # type: ignore[arg-type]
    report = await memos.service.add(caller or memos.administrator, [memory], namespace)
    (result,) = report.results
    assert result.error is None, result.error
    return result.id or ""


async def asked(
    memos: InProcess, id: str, caller: Caller | None = None, **options: object
) -> Provenance:
    service = memos.doorway.provenance
    return await service.provenance(caller or memos.administrator, id, PLACE, **options)  # type: ignore[arg-type]


def ids(found: Provenance) -> dict[str, int]:
    return {node.id: node.distance for node in found.nodes}


async def test_API_2_lineage_goes_up_and_down_and_not_sideways(memos: InProcess) -> None:
    await add(memos, "a")
    await add(memos, "b")
    await add(memos, "ab", "a", "b")
    await add(memos, "sibling", "a")
    await add(memos, "child", "ab")
    await add(memos, "grandchild", "child", "b")
    found = await asked(memos, "ab")
    assert ids(found) == {"ab": 0, "a": 1, "b": 1, "child": 1, "grandchild": 2}
    assert {(one.made, one.source) for one in found.links} == {
        ("ab", "a"),
        ("ab", "b"),
        ("child", "ab"),
        ("grandchild", "child"),
    }
    assert not found.truncated and not any(
        node.withheld_up or node.withheld_down for node in found.nodes
    )
    assert ids(await asked(memos, "ab", direction=Direction.UP)) == {"ab": 0, "a": 1, "b": 1}
    down = await asked(memos, "ab", direction=Direction.DOWN, depth=1)
    assert ids(down) == {"ab": 0, "child": 1} and down.truncated
    assert ids(await asked(memos, "ab", depth=0)) == {"ab": 0}


async def test_API_2_who_when_why_and_by_what(memos: InProcess) -> None:
    outside = Source(uri="https://example.org/report", item="p. 4")
    await add(memos, "report", outside, origin=Origin.IMPORT, attributes={"model": "m-1"})
    await memos.service.update(
        memos.administrator, "report", MemoryChange(text="New words.", reason="a slip"), PLACE
    )
    (node,) = (await asked(memos, "report")).nodes
    assert (node.origin, node.model, node.version) == (Origin.IMPORT, "m-1", 2)
    assert (node.made.trigger, node.made.author) == (Trigger.IMPORT, "user:admin")
    assert node.last is not None
    assert (node.last.reason, node.last.trigger) == ("a slip", Trigger.REQUEST)
    assert node.made.request_id is not None
    (link,) = (await asked(memos, "report")).links
    assert (link.tie, link.uri, link.item) == (Tie.OUTSIDE, "https://example.org/report", "p. 4")


async def test_API_2_what_a_pipeline_has_made_says_so(memos: InProcess) -> None:
    await add(memos, "fact", tags=["fact"])
    steps = [
        {"kind": "retrieve", "id": "facts", "filter": "tags:fact", "namespace": PLACE},
        {
            "kind": "create",
            "id": "note",
            "text": "{facts.list}",
            "memory_id": "note",
            "namespace": PLACE,
        },
    ]
    pipelines = memos.doorway.pipelines
    wanted = RunRequest(definition=read_definition({"name": "note", "steps": steps}))
    run = await pipelines.run(memos.administrator, wanted)
    async with asyncio.timeout(60):
        while (await pipelines.status(memos.administrator, run.id)).state not in ENDED:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    found = await asked(memos, "note")
    assert ids(found) == {"note": 0, "fact": 1}
    assert found.nodes[0].made.trigger is Trigger.PIPELINE


async def test_API_2_what_is_hidden_or_gone_is_withheld_alike(memos: InProcess) -> None:
    """Leak test: the answers for a hidden source and for one that never was are the same."""
    ben = await memos.caller("user:ben")
    await memos.service.add(memos.administrator, [NewMemory(id="x", text="Words.")], PLACE)
    await add(memos, "hidden")
    open_to_ben: dict[str, Any] = {"visibility": Visibility.PRIVATE, "readers": ["user:ben"]}
    await add(memos, "of-hidden", "hidden", **open_to_ben)
    await add(memos, "of-nothing", "never-was", **open_to_ben)
    for id in ("of-hidden", "of-nothing"):
        found = await asked(memos, id, ben)
        (node,) = found.nodes
        assert node.withheld_up and not node.withheld_down and found.links == []
        assert "hidden" not in found.model_dump_json().replace("of-hidden", "")
        # Who has called how is for those who may read the log.
        assert (node.made.author, node.made.request_id) == ("user:admin", None)
    with pytest.raises(NotFoundError):
        await asked(memos, "hidden", ben)
    with pytest.raises(NotFoundError):
        await asked(memos, "never-was", ben)


async def test_API_2_what_others_have_made_is_withheld_without_a_number(memos: InProcess) -> None:
    ben = await memos.caller("user:ben")
    open_to_ben: dict[str, Any] = {"visibility": Visibility.PRIVATE, "readers": ["user:ben"]}
    await add(memos, "seen", **open_to_ben)
    for number in range(3):
        await add(memos, f"secret-{number}", "seen")
    await add(memos, "shown", "seen", **open_to_ben)
    found = await asked(memos, "seen", ben)
    assert ids(found) == {"seen": 0, "shown": 1}
    assert found.nodes[0].withheld_down and "secret" not in found.model_dump_json()


async def test_API_2_lineage_crosses_partitions(memos: InProcess) -> None:
    names = [f"place-{number}" for number in range(16)]
    here = partition_of("default", PLACE, 0, 4)
    far = next(name for name in names if partition_of("default", name, 0, 4) != here)
    await memos.namespace(far)
    minted = await add(memos, None)
    made = await add(memos, "made-far", minted, namespace=far)
    down = await asked(memos, minted)
    assert {(node.id, node.namespace) for node in down.nodes} == {(minted, PLACE), (made, far)}
    up = await memos.doorway.provenance.provenance(memos.administrator, made, far)
    assert ids(up) == {made: 0, minted: 1}


async def test_API_2_pages_and_bounds(memos: InProcess) -> None:
    await add(memos, "root")
    for number in range(7):
        await add(memos, f"child-{number}", "root")
    whole = await asked(memos, "root")
    pages: list[str] = []
    cursor = None
    while True:
        page = await asked(memos, "root", limit=3, cursor=cursor)
        pages += [node.id for node in page.nodes]
        cursor = page.cursor
        if cursor is None:
            break
    assert pages == [node.id for node in whole.nodes] and len(pages) == 8
    with pytest.raises(InvalidInputError):
        await asked(memos, "root", depth=17)
    other = await asked(memos, "root", limit=3)
    with pytest.raises(InvalidCursorError):
        await asked(memos, "root", depth=2, limit=3, cursor=other.cursor)


async def test_API_2_circles_and_versions_end(memos: InProcess) -> None:
    await add(memos, "one")
    await add(memos, "two", "one")
    await memos.service.update(
        memos.administrator, "one", MemoryChange(text="Of two.", tags=["x"]), PLACE
    )
    await add(memos, "self", "self")
    assert ids(await asked(memos, "self")) == {"self": 0}
    assert ids(await asked(memos, "one")) == {"one": 0, "two": 1}


async def test_API_2_an_erased_memory_leaves_no_link(memos: InProcess) -> None:
    await add(memos, "root")
    await add(memos, "child", "root")
    await memos.service.delete(memos.administrator, "child", PLACE, hard=True)
    found = await asked(memos, "root")
    assert ids(found) == {"root": 0} and not found.nodes[0].withheld_down
    await add(memos, "again", "root")
    await memos.service.delete(memos.administrator, "root", PLACE, hard=True)
    (node,) = (await asked(memos, "again")).nodes
    assert node.withheld_up
