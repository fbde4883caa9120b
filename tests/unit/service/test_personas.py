"""One person, two roles: nothing of one stream shows in the other, on any path (APP-4)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from memos_ray.core.personas import PersonaTemplate
from memos_ray.core.pipeline.definition import read_definition
from memos_ray.errors import MemosError, NotFoundError, PermissionDeniedError
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.chat.models import ChatQuery, MemoryMode, Turn
from memos_ray.gateway.memories.models import NewMemory, SearchQuery
from memos_ray.gateway.pipelines.models import RunRequest
from memos_ray.gateway.reuse.models import ReuseQuery
from memos_ray.testing.in_process import InProcess, in_process
from memos_ray.testing.models import QuotingModel

ANN = "user:ann"
SECRET = "The patient Mr Moss has a weak heart"
SHARED = "Ann drives a green car"


@pytest.fixture
async def memos(tmp_path: Path) -> AsyncIterator[InProcess]:
    async with in_process(tmp_path, models={"quoting": QuotingModel()}) as memos:
        yield memos


@pytest.fixture
async def ann(memos: InProcess) -> Caller:
    """Ann, who works as a doctor and is a parent."""
    caller = await memos.caller(ANN)
    for name, preface in (("doctor", "You assist a doctor."), ("parent", "")):
        template = PersonaTemplate(
            name=name, preface=preface, purpose=f"{name}-work", tags=[name], half_life_s=86_400
        )
        await memos.doorway.personas.put(memos.administrator, name, template, ANN)
    await add(memos, caller, SHARED)
    return caller


def as_role(caller: Caller, role: str | None) -> Caller:
    return replace(caller, role=role)


async def add(memos: InProcess, caller: Caller, text: str) -> str:
    report = await memos.service.add(caller, [NewMemory(text=text)])
    (result,) = report.results
    assert result.error is None, result.error
    return result.id or ""


async def found(memos: InProcess, caller: Caller, query: str = "") -> set[str]:
    result = await memos.service.search(caller, SearchQuery(query=query))
    return {hit.memory.text for hit in result.hits}


async def test_APP_4_a_role_finds_its_stream_and_what_is_shared(
    memos: InProcess, ann: Caller
) -> None:
    doctor, parent = as_role(ann, "doctor"), as_role(ann, "parent")
    await add(memos, doctor, SECRET)
    await add(memos, parent, "Tim's school begins at eight")
    assert await found(memos, doctor, "who has a weak heart?") == {SECRET, SHARED}
    assert await found(memos, parent, "heart") == {"Tim's school begins at eight", SHARED}
    assert await found(memos, ann, "heart") == {SHARED}


async def test_APP_4_a_template_makes_the_namespaces_that_its_role_has(
    memos: InProcess, ann: Caller
) -> None:
    template = PersonaTemplate.model_validate(
        {"name": "pilot", "creates": [{"name": "{home}/pilot/log"}, {"name": "{home}/maps"}]}
    )
    for caller, principal in ((memos.administrator, ANN), (as_role(ann, "pilot"), None)):
        shown = await memos.doorway.personas.put(caller, "pilot", template, principal)
        assert shown.shared == [ANN, f"{ANN}/pilot/log", f"{ANN}/maps"]
    pilot = as_role(ann, "pilot")
    for name, text in (("pilot/log", "The engine ran rough"), ("maps", "The ridge is closed")):
        report = await memos.service.add(pilot, [NewMemory(text=text)], f"{ANN}/{name}")
        assert not report.failed, report
    assert await found(memos, pilot) == {SHARED, "The engine ran rough", "The ridge is closed"}
    parent = as_role(ann, "parent")
    with pytest.raises(NotFoundError):
        await memos.service.list(parent, f"{ANN}/pilot/log")
    assert len((await memos.service.list(parent, f"{ANN}/maps")).memories) == 1
    pool = PersonaTemplate.model_validate(
        {"name": "cook", "role": "parent", "creates": [{"name": "recipes"}]}
    )
    with pytest.raises(MemosError):
        await memos.doorway.personas.put(parent, "cook", pool)
    with pytest.raises(NotFoundError):
        await memos.doorway.personas.show(parent, "cook")


async def test_APP_4_what_a_role_remembers_has_its_tags_retention_and_purpose(
    memos: InProcess, ann: Caller
) -> None:
    doctor = as_role(ann, "doctor")
    memory_id = await add(memos, doctor, SECRET)
    memory = await memos.service.get(doctor, memory_id)
    assert (memory.namespace, memory.tags) == (f"{ANN}/doctor", ["doctor"])
    assert memory.half_life_s == 86_400
    log = await memos.doorway.logs.log(doctor)
    (created,) = [entry for entry in log.entries if entry.operation == "create"]
    assert (created.purpose, created.role) == ("doctor-work", "doctor")


async def test_APP_4_a_role_that_is_not_held_cannot_be_used(memos: InProcess, ann: Caller) -> None:
    bob = await memos.caller("user:bob")
    with pytest.raises(PermissionDeniedError):
        await found(memos, as_role(bob, "doctor"))
    with pytest.raises(PermissionDeniedError):
        await found(memos, as_role(ann, "admin"))


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _asking(namespace: str) -> ChatQuery:
    turns = [Turn(role="user", content="heart?")]
    return ChatQuery(model="quoting", messages=turns, namespaces=[namespace])


LEAKS: dict[str, Callable[[InProcess, Caller, str, str], Awaitable[object]]] = {
    "get": lambda m, c, id, ns: m.service.get(c, id),
    "get in place": lambda m, c, id, ns: m.service.get(c, id, ns),
    "history": lambda m, c, id, ns: m.service.history(c, id, ns),
    "diff": lambda m, c, id, ns: m.service.diff(c, id, 1, 1, ns),
    "list": lambda m, c, id, ns: m.service.list(c, ns),
    "search": lambda m, c, id, ns: m.service.search(c, SearchQuery(query="x", namespaces=[ns])),
    "archive": lambda m, c, id, ns: m.service.archive(c, id, ns),
    "erase": lambda m, c, id, ns: m.service.delete(c, id, ns, hard=True),
    "organise": lambda m, c, id, ns: m.doorway.organising.proposals(c, ns),
    "sources": lambda m, c, id, ns: m.doorway.sources.list(c, ns),
    "findings": lambda m, c, id, ns: m.doorway.sources.findings(c, ns),
    "caches": lambda m, c, id, ns: m.doorway.activation.caches(c, ns),
    "adapters": lambda m, c, id, ns: m.doorway.parameter.lessons(c, ns),
    "proposals": lambda m, c, id, ns: m.doorway.parameter.proposals(c, ns),
    "past": lambda m, c, id, ns: m.doorway.past.get(c, id, _now(), ns),
    "past list": lambda m, c, id, ns: m.doorway.past.list(c, _now(), ns),
    "reuse": lambda m, c, id, ns: m.doorway.reuse.find(c, ReuseQuery(task="x", namespaces=[ns])),
    "snapshots": lambda m, c, id, ns: m.doorway.past.snapshots(c, ns),
    "export of the policy": lambda m, c, id, ns: m.admin.documents(c, ns),
    "usage": lambda m, c, id, ns: m.admin.usage(c, ns),
    "chat": lambda m, c, id, ns: m.doorway.chats.chat(c, _asking(ns)),
    "pipelines": lambda m, c, id, ns: m.doorway.pipelines.templates(c, ns),
}


@pytest.mark.parametrize("path", LEAKS)
@pytest.mark.parametrize("role", [None, "parent"])
async def test_APP_4_no_path_leads_into_the_stream_of_another_role(
    memos: InProcess, ann: Caller, path: str, role: str | None
) -> None:
    memory_id = await add(memos, as_role(ann, "doctor"), SECRET)
    try:
        seen = await LEAKS[path](memos, as_role(ann, role), memory_id, f"{ANN}/doctor")
    except MemosError as error:
        assert isinstance(error, NotFoundError | PermissionDeniedError), error
        assert "Moss" not in str(error)
    else:
        assert memory_id not in repr(seen) and "Moss" not in repr(seen)
    kept = await memos.service.get(as_role(ann, "doctor"), memory_id)
    assert (kept.text, kept.version) == (SECRET, 1)


@pytest.mark.parametrize("path", LEAKS)
async def test_APP_4_the_role_itself_goes_these_paths(
    memos: InProcess, ann: Caller, path: str
) -> None:
    doctor = as_role(ann, "doctor")
    memory_id = await add(memos, doctor, SECRET)
    await LEAKS[path](memos, doctor, memory_id, f"{ANN}/doctor")


async def test_APP_4_the_log_of_a_role_is_for_that_role(memos: InProcess, ann: Caller) -> None:
    doctor = as_role(ann, "doctor")
    memory_id = await add(memos, doctor, SECRET)
    for role in (None, "parent"):
        log = await memos.doorway.logs.log(as_role(ann, role), f"{ANN}/doctor")
        assert log.entries == []
    log = await memos.doorway.logs.log(doctor, f"{ANN}/doctor")
    assert memory_id in {entry.memory_id for entry in log.entries}


async def test_APP_4_a_receipt_of_one_role_is_for_that_role(memos: InProcess, ann: Caller) -> None:
    doctor, stream = as_role(ann, "doctor"), f"{ANN}/doctor"
    memory_id = await add(memos, doctor, SECRET)
    await memos.service.delete(doctor, memory_id, hard=True)
    shown = await memos.doorway.receipts.receipt(doctor, memory_id, stream)
    assert memory_id in shown.model_dump_json()
    for role in (None, "parent"):
        with pytest.raises(NotFoundError):
            await memos.doorway.receipts.receipt(as_role(ann, role), memory_id, stream)


async def test_APP_4_a_run_of_one_role_is_not_shown_in_another(
    memos: InProcess, ann: Caller
) -> None:
    doctor, parent = as_role(ann, "doctor"), as_role(ann, "parent")
    await add(memos, doctor, SECRET)
    spec = read_definition(
        {"name": "look", "steps": [{"id": "see", "kind": "retrieve", "query": "heart"}]}
    )
    run = await memos.doorway.pipelines.run(doctor, RunRequest(definition=spec))
    assert (await memos.doorway.pipelines.status(doctor, run.id)).id == run.id
    with pytest.raises(NotFoundError):
        await memos.doorway.pipelines.status(parent, run.id)
    assert (await memos.doorway.pipelines.runs(parent)).runs == []


async def test_APP_4_conversations_speak_in_a_role(memos: InProcess, ann: Caller) -> None:
    doctor, parent = as_role(ann, "doctor"), as_role(ann, "parent")
    await add(memos, doctor, SECRET)
    asked = ChatQuery(
        model="quoting",
        messages=[Turn(role="user", content="Who has a weak heart?")],
        memory=MemoryMode.READ_WRITE,
        session="s",
    )
    answer = await memos.doorway.chats.chat(doctor, asked)
    assert "Moss" in answer.text and "You assist a doctor." in answer.text
    assert {one.namespace for one in answer.memories} == {ANN, f"{ANN}/doctor"}
    for stored in answer.stored:
        assert (await memos.service.get(doctor, stored)).namespace == f"{ANN}/doctor"
    # The same session in the other role goes on from nothing of it.
    other = await memos.doorway.chats.chat(parent, asked)
    assert "Moss" not in other.text and "assist a doctor" not in other.text
    assert {one.namespace for one in other.memories} == {ANN}


async def test_APP_4_the_administrator_speaks_in_roles_too(memos: InProcess) -> None:
    admin = memos.administrator
    await memos.doorway.personas.put(admin, "diary", PersonaTemplate(name="diary"))
    diarist = as_role(admin, "diary")
    memory_id = await add(memos, diarist, SECRET)
    with pytest.raises(NotFoundError):
        await memos.service.get(admin, memory_id)
    log = await memos.doorway.logs.log(admin, "user:admin/diary")
    assert log.entries == []
    shown = await memos.doorway.personas.list(diarist)
    assert [(one.name, one.held, one.in_use) for one in shown.personas] == [("diary", True, True)]
    with pytest.raises(PermissionDeniedError):
        await memos.doorway.personas.retire(admin, "diary")
    retired = await memos.doorway.personas.retire(diarist, "diary")
    assert retired.retired
    assert (await memos.doorway.personas.list(admin)).personas == []
    with pytest.raises(NotFoundError):
        await memos.service.get(admin, memory_id)
