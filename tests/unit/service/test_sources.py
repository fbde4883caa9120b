"""A trusted source against what is held: proposed, accepted, refused, never lost (APP-3)."""

from __future__ import annotations

import asyncio
import logging
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from memos_ray.actors.vault.partition import ORGANISE_FEED
from memos_ray.adapters.sql.records import SqlRecordStore
from memos_ray.config import VaultSettings
from memos_ray.core.access.administration import GiveGrant, PutNamespace
from memos_ray.core.access.context import Action
from memos_ray.core.access.model import NamespaceKind, default_spec
from memos_ray.core.organising import Proposed
from memos_ray.core.sources import Kind, Stage
from memos_ray.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    PayloadTooLargeError,
    PermissionDeniedError,
    UnavailableError,
)
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.memories.models import MemoryChange, NewMemory, SearchQuery
from memos_ray.gateway.sources import service
from memos_ray.gateway.sources.models import Deciding, FindingInfo, NewSource
from memos_ray.testing.in_process import InProcess, in_process
from memos_ray.testing.waiting import eventually
from tests.unit.reader.test_documents import pdf

OLD, NEW = datetime(2024, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
CLINIC = "clinic"
FIRST = """# Hypertension

## 1 Targets
The target blood pressure for adults is below 140 mmHg.

## 2 Salt
Salt is limited to 6 g a day.

## 3 Bed rest
Patients with high pressure stay in bed for two weeks.

## 4 Measuring
Measure seated after five minutes of quiet rest.
"""
SECOND = """# Hypertension

## 1 Targets
The target blood pressure for adults is below 130 mmHg.

## 2 Salt
Salt is limited to 5 g a day.

## 3 Measuring
Measure seated after five minutes of quiet rest.

## 4 Ramipril
Ramipril is contraindicated in pregnancy.
"""
SETTINGS = VaultSettings(partitions=4)


@pytest.fixture
async def memos(tmp_path: Path) -> AsyncIterator[InProcess]:
    async with in_process(tmp_path, settings=SETTINGS) as memos:
        await make_clinic(memos)
        yield memos


async def make_clinic(memos: InProcess) -> None:
    spec = default_spec(CLINIC, NamespaceKind.EXPERT, memos.administrator_id)
    await memos.admin.change(memos.administrator, PutNamespace(replace(spec, members=("*",))))


def edition(text: str, at: datetime, **fields: Any) -> NewSource:
    given = {"name": "Hypertension", "issuer": "The Board", "trust": 80, **fields}
    return NewSource(text=text, valid_from=at, **given)


async def add(memos: InProcess, text: str, *, caller: Caller | None = None, **fields: Any) -> str:
    memory = NewMemory(text=text, **fields)
    report = await memos.service.add(caller or memos.administrator, [memory], CLINIC)
    (result,) = report.results
    assert result.error is None, result.error
    return result.id or ""


async def add_source(memos: InProcess, new: NewSource) -> str:
    info = await memos.doorway.sources.add(memos.administrator, new, CLINIC)
    assert info.stage is Stage.READY and info.compared == info.sections > 0
    return info.id


async def findings(
    memos: InProcess, caller: Caller | None = None, **which: Any
) -> list[FindingInfo]:
    service = memos.doorway.sources
    found = await service.findings(caller or memos.administrator, CLINIC, **which)
    return found.findings


async def decide(
    memos: InProcess, *ids: str, accept: bool = True, caller: Caller | None = None
) -> list[FindingInfo]:
    report = await memos.doorway.sources.decide(
        caller or memos.administrator, Deciding(ids=list(ids)), CLINIC, accept=accept
    )
    assert all(one.error is None for one in report.results), report
    return [one.finding for one in report.results if one.finding]


async def found(memos: InProcess, query: str, **fields: Any) -> set[str]:
    asked = SearchQuery(query=query, namespaces=[CLINIC], **fields)
    result = await memos.service.search(memos.administrator, asked)
    return {hit.memory.id for hit in result.hits}


async def test_APP_3_a_new_source_is_compared_with_what_is_held(memos: InProcess) -> None:
    held = await add(memos, "The blood pressure target for adults is below 150 mmHg.")
    await add(memos, "The canteen opens at 11 o'clock.")
    source = await add_source(memos, edition(SECOND, NEW))
    (one,) = await findings(memos)
    assert (one.held, one.source, one.kind) == (held, source, Kind.CONTRADICTED)
    assert "150" in one.held_text and "130 mmHg" in (one.replacing_text or "")
    assert any("150 \u2192 130" in reason for reason in one.reasons)
    assert not one.outranked
    # Nothing has been done.
    assert (await memos.service.get(memos.administrator, held, CLINIC)).version == 1


async def test_APP_3_an_accepted_finding_closes_what_was_held_and_loses_nothing(
    memos: InProcess,
) -> None:
    held = await add(memos, "The blood pressure target for adults is below 150 mmHg.")
    before = datetime.now(UTC)
    source = await add_source(memos, edition(SECOND, NEW))
    (one,) = await findings(memos)
    (decided,) = await decide(memos, one.id)
    assert decided.state is Proposed.ACCEPTED
    memory = await memos.service.get(memos.administrator, held, CLINIC)
    assert memory.valid_to is not None and memory.version == 2
    assert memory.text == "The blood pressure target for adults is below 150 mmHg."
    (ref,) = memory.sources
    assert (ref.item, ref.memory_id) == (f"source:{source}", one.replacing)
    history = await memos.service.history(memos.administrator, held, CLINIC)
    assert history.versions[0].reason == "contradicted by Hypertension (The Board, 2026-01-01)"
    query = "blood pressure target for adults"
    assert held not in await found(memos, query)
    assert held in await found(memos, query, include_ended=True)
    assert held in await found(memos, query, as_of=before)
    log = await memos.doorway.logs.log(memos.administrator, CLINIC)
    (updated,) = [
        entry for entry in log.entries if entry.memory_id == held and entry.operation != "create"
    ]
    assert updated.operation == "merge", updated
    assert await findings(memos) == []
    (shown,) = await findings(memos, decided=True)
    assert (shown.id, shown.decided_by) == (one.id, memos.administrator_id)


async def test_APP_3_a_refused_finding_leaves_everything_and_is_not_found_again(
    memos: InProcess,
) -> None:
    held = await add(memos, "The blood pressure target for adults is below 150 mmHg.")
    await add_source(memos, edition(SECOND, NEW))
    (one,) = await findings(memos)
    (refused,) = await decide(memos, one.id, accept=False)
    assert refused.state is Proposed.REFUSED
    # Once more is the same, and the other is too late.
    assert (await decide(memos, one.id, accept=False))[0].state is Proposed.REFUSED
    report = await memos.doorway.sources.decide(
        memos.administrator, Deciding(ids=[one.id, "nothing"]), CLINIC, accept=True
    )
    codes = [result.error and result.error.code for result in report.results]
    assert codes == ["illegal_state", "not_found"]
    await add_source(memos, edition(SECOND, NEW))
    assert await findings(memos) == []
    assert (await memos.service.get(memos.administrator, held, CLINIC)).valid_to is None


async def test_APP_3_a_new_edition_takes_the_place_of_the_old_one(memos: InProcess) -> None:
    await add_source(memos, edition(FIRST, OLD))
    assert await findings(memos) == []
    second = await add_source(memos, edition(SECOND, NEW))
    listed = await findings(memos, source=second)
    by_heading = {one.held_text.splitlines()[0]: one for one in listed}
    kinds = {heading: one.kind for heading, one in by_heading.items()}
    assert kinds == {
        "## 1 Targets": Kind.CONTRADICTED,
        "## 2 Salt": Kind.CONTRADICTED,
        "## 3 Bed rest": Kind.WITHDRAWN,
        "## 4 Measuring": Kind.UNCHANGED,
    }
    assert any("6 \u2192 5" in reason for reason in by_heading["## 2 Salt"].reasons)
    report = await memos.doorway.sources.decide(
        memos.administrator, Deciding(source=second), CLINIC, accept=True
    )
    assert {one.finding.state for one in report.results if one.finding} == {Proposed.ACCEPTED}
    assert len(report.results) == 4 and not report.more
    for one in listed:
        memory = await memos.service.get(memos.administrator, one.held, CLINIC)
        assert memory.valid_to == NEW
    # What held two years ago still answers.
    old_salt = by_heading["## 2 Salt"].held
    assert old_salt not in await found(memos, "how much salt a day")
    ended = await found(memos, "how much salt a day", include_ended=True)
    assert old_salt in ended


async def test_APP_3_an_edition_that_comes_late_closes_itself(memos: InProcess) -> None:
    second = await add_source(memos, edition(SECOND, NEW))
    await add_source(memos, edition(FIRST, OLD))
    listed = await findings(memos)
    assert {one.source for one in listed} == {second}
    await decide(memos, *(one.id for one in listed))
    texts = {
        hit.memory.text
        for hit in (
            await memos.service.search(
                memos.administrator, SearchQuery(query="salt a day", namespaces=[CLINIC])
            )
        ).hits
    }
    assert not any("6 g" in text for text in texts) and any("5 g" in text for text in texts)


async def test_APP_3_a_source_of_lower_rank_is_outranked(memos: InProcess) -> None:
    await add_source(memos, edition(SECOND, NEW))
    leaflet = "The target blood pressure for adults is below 150 mmHg."
    low = await add_source(
        memos, edition(leaflet, NEW, name="Leaflet", issuer="A shop", trust=10, format="text")
    )
    (one,) = await findings(memos, source=low)
    assert one.outranked
    report = await memos.doorway.sources.decide(
        memos.administrator, Deciding(source=low), CLINIC, accept=True
    )
    assert report.results == []
    (decided,) = await decide(memos, one.id)
    assert decided.state is Proposed.ACCEPTED


async def later_findings(memos: InProcess, count: int) -> list[FindingInfo]:
    async with asyncio.timeout(60):
        while len(listed := await findings(memos)) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return listed


async def followed(memos: InProcess, namespace: str = CLINIC) -> None:
    """Returns when the log has been compared to its end."""
    organising = memos.doorway.organising
    async with asyncio.timeout(60):
        while (await organising.proposals(memos.administrator, namespace)).lag:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_APP_3_what_is_stored_later_is_compared_as_what_was_held(memos: InProcess) -> None:
    before = await add(memos, "The blood pressure target for adults is below 150 mmHg.")
    source = await add_source(memos, edition(SECOND, NEW))
    after = await add(memos, "For adults the target blood pressure is below 160 mmHg.")
    await add(memos, "The canteen opens at 11 o'clock.")
    listed = {one.held: one for one in await later_findings(memos, 2)}
    assert set(listed) == {before, after}
    found = listed[after]
    assert (found.source, found.kind, found.outranked) == (source, Kind.CONTRADICTED, False)
    assert found.replacing == listed[before].replacing
    assert any("160 \u2192 130" in reason for reason in found.reasons)
    # It is proposed, and the write has gone through.
    (decided,) = await decide(memos, found.id)
    assert decided.state is Proposed.ACCEPTED
    assert (await memos.service.get(memos.administrator, after, CLINIC)).valid_to is not None
    await followed(memos)
    assert [one.held for one in await findings(memos)] == [before]


async def test_APP_3_a_memory_changed_later_is_compared_and_a_refusal_stands(
    memos: InProcess,
) -> None:
    await add_source(memos, edition(SECOND, NEW))
    held = await add(memos, "The blood pressure target for adults is below 130 mmHg.")
    await followed(memos)
    assert await findings(memos) == []
    change = MemoryChange(text="The blood pressure target for adults is below 150 mmHg.")
    await memos.service.update(memos.administrator, held, change, CLINIC)
    (one,) = await later_findings(memos, 1)
    await decide(memos, one.id, accept=False)
    await memos.service.update(memos.administrator, held, MemoryChange(tags=["old"]), CLINIC)
    await followed(memos)
    assert await findings(memos) == []


async def test_APP_3_only_the_newest_edition_says_what_later_memories_contradict(
    memos: InProcess,
) -> None:
    await add_source(memos, edition(FIRST, OLD))
    second = await add_source(memos, edition(SECOND, NEW))
    await followed(memos)
    # The sections of one edition are not memories that contradict the other.
    assert {one.source for one in await findings(memos)} == {second}
    count = len(await findings(memos))
    fits_the_old_one = await add(memos, "The target blood pressure for adults is below 140 mmHg.")
    listed = await later_findings(memos, count + 1)
    assert [one.source for one in listed if one.held == fits_the_old_one] == [second]


async def test_APP_3_later_memories_meet_sources_of_their_own_namespace_only(
    memos: InProcess,
) -> None:
    await add_source(memos, edition(SECOND, NEW))
    other = replace(default_spec("ward", NamespaceKind.EXPERT, memos.administrator_id))
    await memos.admin.change(memos.administrator, PutNamespace(other))
    new = NewMemory(text="The blood pressure target for adults is below 150 mmHg.")
    await memos.service.add(memos.administrator, [new], "ward")
    await followed(memos, "ward")
    assert await findings(memos) == []
    assert (await memos.doorway.sources.findings(memos.administrator, "ward")).findings == []


async def test_APP_3_later_findings_are_counted_and_made_once(
    memos: InProcess, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await add_source(memos, edition(SECOND, NEW))
    await add(memos, "The blood pressure target for adults is below 150 mmHg, said the walrus.")
    await later_findings(memos, 1)
    await followed(memos)
    assert "a later memory contradicts" in caplog.text and "walrus" not in caplog.text
    # What a crash has cut off is consumed again.
    (shard,) = memos.crew.shards.values()
    held = (await shard.status()).partitions
    await shard.disown([*held])
    for number, epoch in held.items():
        memos.store.advance(number, epoch, ORGANISE_FEED, 0)
    await shard.own([*held])
    await followed(memos)
    counters = (await shard.status()).counters
    assert counters["source_memories_compared"] == 2
    assert counters["source_findings"] == len(await findings(memos)) == 1


async def test_APP_3_no_later_memory_ends_a_section_unasked(memos: InProcess) -> None:
    organising = memos.doorway.organising
    await organising.automate(memos.administrator, CLINIC, automatic=True)
    text = "# Ward\n\nAnn's birthday is on 3 May."
    await add_source(memos, edition(text, OLD, name="Ward"))
    later = await add(memos, "Ann's birthday is on 4 May.")
    (one,) = await later_findings(memos, 1)
    assert (one.held, one.kind) == (later, Kind.CONTRADICTED)
    await followed(memos)
    section = await memos.service.get(memos.administrator, one.replacing or "", CLINIC)
    assert (section.valid_to, section.version) == (None, 1)
    # It stays proposed, for somebody to decide.
    (proposal,) = (await organising.proposals(memos.administrator, CLINIC)).proposals
    assert (proposal.older, proposal.newer) == (section.id, later)


def printed(*pages: tuple[str, ...] | None) -> NewSource:
    """An edition in PDF, each page in lines; none is a blank one."""
    lined = [None if page is None else ") Tj 0 -14 Td (".join(page) for page in pages]
    encoded = b64encode(pdf(*lined)).decode()
    fields = {"name": "Hypertension", "issuer": "The Board", "trust": 80, "valid_from": NEW}
    return NewSource(pdf=encoded, **fields)


async def test_APP_3_a_document_of_any_length_is_read_no_further_than_it_may_be(
    memos: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "SECTIONS_MAX", 2)
    with pytest.raises(PayloadTooLargeError):
        await add_source(memos, printed(("One.",), None, None, None, ("Two.",)))
    assert (await memos.doorway.sources.list(memos.administrator, CLINIC)).sources == []


async def test_APP_3_a_source_is_read_from_a_pdf(memos: InProcess) -> None:
    held = await add(memos, "The blood pressure target for adults is below 150 mmHg.")
    new = printed(
        ("Targets", "The target blood pressure for adults is below", "130 mmHg."),
        None,
        ("Salt is limited to 5 g a day.",),
    )
    info = await memos.doorway.sources.add(memos.administrator, new, CLINIC)
    assert (info.stage, info.sections, info.pages_without_text) == (Stage.READY, 2, [2])
    (one,) = await findings(memos)
    assert (one.held, one.kind) == (held, Kind.CONTRADICTED)
    assert any("150 \u2192 130" in reason for reason in one.reasons)
    again = await memos.doorway.sources.add(memos.administrator, new, CLINIC)
    assert again == info
    with pytest.raises(ConflictError):
        await memos.doorway.sources.add(memos.administrator, printed(("Else.",)), CLINIC)


async def test_APP_3_a_pdf_that_cannot_be_read_is_no_source(memos: InProcess) -> None:
    damaged = b64encode(b"%PDF-1.7 walrus").decode()
    fields = {"name": "x", "issuer": "y", "valid_from": NEW}
    for new in (NewSource(pdf=damaged, **fields), printed(None)):
        with pytest.raises(InvalidInputError):
            await memos.doorway.sources.add(memos.administrator, new, CLINIC)
    assert (await memos.doorway.sources.list(memos.administrator, CLINIC)).sources == []
    for wrong in ({"pdf": "no base64!"}, {"pdf": damaged, "text": "x"}, {}):
        with pytest.raises(ValueError):
            NewSource(**fields, **wrong)


async def test_APP_3_only_administrators_say_whom_a_namespace_trusts(memos: InProcess) -> None:
    bob = await memos.caller("user:bob")
    with pytest.raises(PermissionDeniedError):
        await memos.doorway.sources.add(bob, edition(SECOND, NEW), CLINIC)
    with pytest.raises(NotFoundError):
        await memos.doorway.sources.add(bob, edition(SECOND, NEW), "nowhere")
    source = await add_source(memos, edition(SECOND, NEW))
    with pytest.raises(PermissionDeniedError):
        await memos.doorway.sources.compare(bob, source, CLINIC)
    assert len((await memos.doorway.sources.list(bob, CLINIC)).sources) == 1


async def test_APP_3_findings_show_to_who_may_read_both_texts(memos: InProcess) -> None:
    bob = await memos.caller("user:bob")
    eve = await memos.caller("user:eve")
    private = await add(
        memos,
        "The blood pressure target for adults is below 150 mmHg.",
        caller=bob,
        visibility="private",
    )
    await add_source(memos, edition(SECOND, NEW, visibility="shared"))
    assert await findings(memos) == [] and await findings(memos, eve) == []
    (one,) = await findings(memos, bob)
    assert one.held == private
    for stranger in (memos.administrator, eve):
        report = await memos.doorway.sources.decide(
            stranger, Deciding(ids=[one.id]), CLINIC, accept=True
        )
        assert report.results[0].error and report.results[0].error.code == "not_found"
    await decide(memos, one.id, caller=bob)
    memory = await memos.service.get(bob, private, CLINIC)
    assert memory.valid_to is not None


async def test_APP_3_reading_is_not_deciding(memos: InProcess) -> None:
    bob = await memos.caller("user:bob")
    held = await add(memos, "The target blood pressure for adults is below 150 mmHg.")
    await add_source(memos, edition(SECOND, NEW))
    (one,) = await findings(memos, bob)
    for accept in (True, False):
        report = await memos.doorway.sources.decide(
            bob, Deciding(ids=[one.id]), CLINIC, accept=accept
        )
        assert report.results[0].error and report.results[0].error.code == "permission_denied"
    grant = GiveGrant("user:bob", (Action.READ,), CLINIC)
    await memos.admin.change(memos.administrator, grant)
    assert (await memos.service.get(memos.administrator, held, CLINIC)).version == 1


async def test_APP_3_one_edition_has_one_text(memos: InProcess) -> None:
    first = await add_source(memos, edition(SECOND, NEW))
    assert await add_source(memos, edition(SECOND, NEW)) == first
    for other in (edition(FIRST, NEW), edition(SECOND, NEW, trust=90)):
        with pytest.raises(ConflictError):
            await memos.doorway.sources.add(memos.administrator, other, CLINIC)
    with pytest.raises(InvalidInputError):
        await memos.doorway.sources.add(memos.administrator, edition("  \n", NEW), CLINIC)
    listed = await memos.doorway.sources.list(memos.administrator, CLINIC)
    assert [one.id for one in listed.sources] == [first]


async def test_APP_3_findings_go_with_the_memories(memos: InProcess) -> None:
    held = await add(memos, "The blood pressure target for adults is below 150 mmHg.")
    await add_source(memos, edition(SECOND, NEW))

    def rows() -> list[str]:
        return [
            row.name
            for partition in range(SETTINGS.partitions)
            for row in memos.store.derivations(partition, "source_finding")
        ]

    assert rows()
    await memos.service.delete(memos.administrator, held, CLINIC, hard=True)
    # Whether somebody asks for them or not.
    await eventually(lambda: not rows())
    assert await findings(memos) == []


async def test_APP_3_what_is_done_is_counted(memos: InProcess) -> None:
    await add(memos, "The blood pressure target for adults is below 150 mmHg.")
    await add_source(memos, edition(SECOND, NEW))
    (one,) = await findings(memos)
    await decide(memos, one.id)
    await followed(memos)
    counted: dict[str, int] = {}
    for shard in memos.crew.shards.values():
        counters = (await shard.status()).counters
        counted.update({name: n for name, n in counters.items() if name.startswith("source_")})
    # Depends on whether the log was followed before the source was there.
    assert counted.pop("source_memories_compared", 0) <= 1
    assert counted == {
        "source_sections_compared": 4,
        "source_findings": 1,
        "source_accepted": 1,
    }


class Dies:
    """A record store that is away from a call on, as for a process that is killed there."""

    def __init__(self, store: SqlRecordStore) -> None:
        self._store = store
        self.kills: Callable[[str, tuple[Any, ...]], bool] = lambda name, values: False
        self.dead = False

    def __getattr__(self, name: str) -> Any:
        act = getattr(self._store, name)
        if not callable(act) or name == "close":
            return act

        def call(*values: Any, **named: Any) -> Any:
            self.dead = self.dead or self.kills(name, values)
            if self.dead:
                raise UnavailableError("the store is away")
            return act(*values, **named)

        return call


def _saves(kind: str) -> Callable[[str, tuple[Any, ...]], bool]:
    return lambda name, values: name == "save_derivation" and values[-1].kind == kind


@pytest.mark.parametrize("point", ["source", "source_finding"])
@pytest.mark.parametrize("after", range(3))
async def test_APP_3_adding_is_resumed_wherever_it_was_killed(
    tmp_path: Path, point: str, after: int
) -> None:
    store = Dies(SqlRecordStore.embedded(tmp_path / "records"))
    left = [after]

    def kills(name: str, values: tuple[Any, ...]) -> bool:
        if _saves(point)(name, values):
            left[0] -= 1
        return left[0] < 0

    async with in_process(tmp_path, settings=SETTINGS, store=store, timeout_s=0.5) as memos:  # type: ignore[arg-type]
        await make_clinic(memos)
        await add_source(memos, edition(FIRST, OLD))
        store.kills = kills
        with pytest.raises(UnavailableError):
            await memos.doorway.sources.add(memos.administrator, edition(SECOND, NEW), CLINIC)
        store.kills, store.dead = (lambda name, values: False), False
        for name in list(memos.crew.shards):
            memos.crew.cut_off(name)
            await memos.crew.start_shard(name)
        await add_source(memos, edition(SECOND, NEW))
        assert len(await findings(memos)) == 4
        page = await memos.service.list(memos.administrator, CLINIC, limit=100)
        assert len(page.memories) == 8


async def test_APP_3_an_acceptance_that_was_cut_off_is_done_once(tmp_path: Path) -> None:
    store = Dies(SqlRecordStore.embedded(tmp_path / "records"))
    async with in_process(tmp_path, settings=SETTINGS, store=store, timeout_s=0.5) as memos:  # type: ignore[arg-type]
        await make_clinic(memos)
        held = await add(memos, "The blood pressure target for adults is below 150 mmHg.")
        await add_source(memos, edition(SECOND, NEW))
        (one,) = await findings(memos)
        # Killed between the write of the memory and the row of the finding.
        store.kills = _saves("source_finding")
        which = Deciding(ids=[one.id])
        await memos.doorway.sources.decide(memos.administrator, which, CLINIC, accept=True)
        store.kills, store.dead = (lambda name, values: False), False
        for name in list(memos.crew.shards):
            memos.crew.cut_off(name)
            await memos.crew.start_shard(name)
        assert (await memos.service.get(memos.administrator, held, CLINIC)).version == 2
        (decided,) = await decide(memos, one.id)
        assert decided.state is Proposed.ACCEPTED
        assert (await memos.service.get(memos.administrator, held, CLINIC)).version == 2


async def test_APP_3_GOV_9_findings_go_with_the_memories_where_that_was_cut_off(
    tmp_path: Path,
) -> None:
    store = Dies(SqlRecordStore.embedded(tmp_path / "records"))

    def rows() -> int:
        found = (store.derivations(one, "source_finding") for one in range(SETTINGS.partitions))
        return sum(map(len, found))

    async with in_process(tmp_path, settings=SETTINGS, store=store, timeout_s=0.5) as memos:  # type: ignore[arg-type]
        await make_clinic(memos)
        held = await add(memos, "The blood pressure target for adults is below 150 mmHg.")
        await add_source(memos, edition(SECOND, NEW))
        await followed(memos)
        assert rows() == 1
        # Killed behind the erasure, before the findings about the memory are removed.
        store.kills = lambda name, _: name in ("forget_derivations", "save_derivation")
        await memos.service.delete(memos.administrator, held, CLINIC, hard=True)
        await eventually(lambda: store.dead)
        for name in list(memos.crew.shards):
            await memos.crew.cut_off(name).close()
            await memos.crew.start_shard(name)
        store.kills, store.dead = (lambda name, values: False), False
        await followed(memos)
        await eventually(lambda: not rows())
