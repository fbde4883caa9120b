"""What searches offer goes together: dialogues, paths, archives, branches, predictions, pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import pytest

from memos_ray.config import VaultSettings
from memos_ray.core.access.administration import PutNamespace
from memos_ray.core.access.model import NamespaceKind, default_spec
from memos_ray.errors import InvalidInputError, MemosError
from memos_ray.gateway.branches.models import NewBranch
from memos_ray.gateway.memories.models import NewMemory, SearchQuery, SearchResult
from memos_ray.testing.in_process import InProcess, in_process

TEAM = "user:admin/team"
WORDS = (
    "guitar concert garden tomato river boat train ticket market lemon doctor visit school piano"
    " window winter letter uncle bread cheese"
).split()
TURNS = [
    {"role": "user", "content": "Does Dolores play the guitar?"},
    {"role": "assistant", "content": "Yes, Dolores plays the guitar."},
]


@pytest.fixture
async def memos(tmp_path: Path) -> AsyncIterator[InProcess]:
    settings = VaultSettings(partitions=4)
    async with in_process(tmp_path, settings=settings) as memos:
        yield memos


async def fill(memos: InProcess) -> None:
    admin = memos.administrator
    spec = default_spec(TEAM, NamespaceKind.USER_PRIVATE, memos.administrator_id)
    await memos.admin.change(admin, PutNamespace(spec))
    for place, name in ((None, "home"), (TEAM, "team")):
        for number in range(6):
            text = f"Dolores plays a wonderful guitar concert, number {number} of the {name}."
            memory = NewMemory(id=f"{name}-{number}", text=text)
            assert not (await memos.service.add(admin, [memory], place)).failed
        for number in range(2):
            await memos.service.archive(admin, f"{name}-{number}", place)
    await memos.doorway.branches.create(admin, NewBranch(name="trial"))
    added = NewMemory(id="of-branch", text="Dolores plays a wonderful guitar concert in the trial.")
    await memos.doorway.branches.add(admin, "trial", added)
    await memos.doorway.branches.delete(admin, "trial", "home-5")


async def search(memos: InProcess, branch: bool, asked: dict[str, Any]) -> SearchResult:
    query = SearchQuery(query="Where does Dolores play the guitar?", **asked)
    if branch:
        return await memos.doorway.branches.search(memos.administrator, "trial", query)
    return await memos.service.search(memos.administrator, query)


async def pages(memos: InProcess, branch: bool, asked: dict[str, Any]) -> list[str]:
    ids, cursor = list[str](), None
    while True:
        page = await search(memos, branch, {**asked, "limit": 2, "cursor": cursor})
        ids += [hit.memory.id for hit in page.hits]
        cursor = page.cursor
        if cursor is None:
            return ids


async def test_OPER_2_every_combination_pages_and_explains(memos: InProcess) -> None:
    await fill(memos)
    for branch, route, archived, dialogue, predicted in product((False, True), repeat=5):
        if branch and (predicted or route):
            continue
        asked: dict[str, Any] = {
            "route": route,
            "include_archived": archived,
            "turns": TURNS if dialogue else [],
            "filter": "predicted.sentiment:positive" if predicted else None,
        }
        whole = await search(memos, branch, {**asked, "limit": 50, "explain": True})
        ids = [hit.memory.id for hit in whole.hits]
        wanted = {f"home-{number}" for number in range(0 if archived else 2, 6)}
        if branch:
            wanted = (wanted | {"of-branch"}) - {"home-5"}
        elif route:
            wanted |= {f"team-{number}" for number in range(0 if archived else 2, 6)}
        assert set(ids) == wanted and len(ids) == len(wanted), asked
        for hit in whole.hits:
            assert hit.score == pytest.approx(sum(one.contribution for one in hit.signals))
        paged = await pages(memos, branch, asked)
        assert sorted(paged) == sorted(ids), (branch, asked)


async def test_OPER_2_pages_of_several_places_show_each_hit_once(memos: InProcess) -> None:
    random, admin = Random(1), memos.administrator
    for number in range(60):
        text = " ".join(random.choice(WORDS) for _ in range(8))
        await memos.service.add(admin, [NewMemory(id=f"m{number}", text=text)])
    for number in range(0, 60, 2):
        await memos.service.archive(admin, f"m{number}")
    await memos.service.search(admin, SearchQuery(query="guitar", wait_indexed=True))
    for _ in range(10):
        asked, ids, cursor = " ".join(random.sample(WORDS, 3)), list[str](), None
        while len(ids) < 60:
            query = SearchQuery(query=asked, limit=5, cursor=cursor, include_archived=True)
            page = await memos.service.search(admin, query)
            ids += [hit.memory.id for hit in page.hits]
            cursor = page.cursor
        assert cursor is None and len(set(ids)) == 60


async def test_OPER_2_a_cursor_is_of_one_search(memos: InProcess) -> None:
    await fill(memos)
    ways: list[tuple[bool, dict[str, Any]]] = [
        (False, {}),
        (False, {"route": True}),
        (False, {"include_archived": True}),
        (False, {"include_ended": True}),
        (False, {"turns": TURNS}),
        (False, {"filter": "predicted.sentiment:positive"}),
        (False, {"namespaces": [TEAM]}),
        (False, {"parse": False}),
        (True, {}),
        (True, {"include_archived": True}),
    ]
    cursors = [
        (await search(memos, branch, {**asked, "limit": 1})).cursor for branch, asked in ways
    ]
    for at, (branch, asked) in enumerate(ways):
        for other, cursor in enumerate(cursors):
            assert cursor is not None
            if other == at:
                await search(memos, branch, {**asked, "limit": 1, "cursor": cursor})
                continue
            with pytest.raises(InvalidInputError):
                await search(memos, branch, {**asked, "limit": 1, "cursor": cursor})


async def test_LIFE_3_a_branch_is_searched_as_it_is(memos: InProcess) -> None:
    await fill(memos)
    stated = {"route": True, "namespaces": [TEAM], "as_of": datetime.now(UTC)}
    for field, value in stated.items():
        with pytest.raises(InvalidInputError) as refused:
            await search(memos, True, {field: value})
        assert refused.value.details["field"] == field


async def test_OPER_1_predictions_are_of_today(memos: InProcess) -> None:
    await fill(memos)
    with pytest.raises(MemosError) as refused:
        await search(memos, True, {"filter": "predicted.sentiment:positive"})
    assert refused.value.code == "invalid_filter"


async def test_VAULT_4_the_archive_of_an_earlier_moment_is_searched(memos: InProcess) -> None:
    admin, everything = memos.administrator, {f"m{number}" for number in range(4)}
    for id in sorted(everything):
        memory = NewMemory(id=id, text=f"Dolores plays the guitar in hall {id}.")
        assert not (await memos.service.add(admin, [memory])).failed
    before = datetime.now(UTC)
    await memos.service.archive(admin, "m0")
    after = datetime.now(UTC)
    await memos.service.restore(admin, "m0")

    async def found(**asked: Any) -> set[str]:
        hits = (await search(memos, False, {**asked, "limit": 50})).hits
        assert len(hits) == len({hit.memory.id for hit in hits})
        return {hit.memory.id for hit in hits}

    assert await found(as_of=before) == everything
    assert await found(as_of=before, include_archived=True) == everything
    assert await found(as_of=after) == everything - {"m0"}
    assert await found(as_of=after, include_archived=True) == everything
    assert await found(include_archived=True) == everything
