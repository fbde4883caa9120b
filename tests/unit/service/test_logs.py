"""API-3: who has done what, who has read what, and which memories an answer was given."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from memos_ray.actors.vault import reading
from memos_ray.config import VaultSettings
from memos_ray.core.cube.metadata import Visibility
from memos_ray.core.cube.payload import Form
from memos_ray.core.vault.log import ANSWER, Outcome
from memos_ray.errors import InvalidCursorError, NotFoundError, PermissionDeniedError
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.chat.models import ChatQuery, Turn
from memos_ray.gateway.memories.models import MemoryChange, NewMemory, SearchQuery, Sharing
from memos_ray.gateway.memories.record_models import LogEntry, LogFilter
from memos_ray.testing.in_process import InProcess, in_process
from memos_ray.testing.models import QuotingModel


@pytest.fixture
async def memos(tmp_path: Path) -> AsyncIterator[InProcess]:
    settings = VaultSettings(partitions=4)
    async with in_process(tmp_path, settings=settings, models={"quoting": QuotingModel()}) as memos:
        yield memos


async def add(
    memos: InProcess, id: str, text: str, namespace: str | None = None, **fields: object
) -> None:
    memory = NewMemory(id=id, text=text, **fields)  # type: ignore[arg-type]
    report = await memos.service.add(memos.administrator, [memory], namespace)
    assert not report.failed


async def entries(
    memos: InProcess, caller: Caller | None = None, namespace: str | None = None, **fields: object
) -> list[LogEntry]:
    """All entries that a filter finds, page by page."""
    found: list[LogEntry] = []
    cursor, limit = None, fields.pop("limit", 3)
    wanted = LogFilter(**fields)  # type: ignore[arg-type]
    while True:
        page = await memos.doorway.logs.log(
            caller or memos.administrator,
            namespace,
            wanted=wanted,
            cursor=cursor,
            limit=limit,  # type: ignore[arg-type]
        )
        found += page.entries
        cursor = page.cursor
        if cursor is None:
            return found


async def asked(memos: InProcess, question: str) -> str:
    """Asks the model; returns the id of the answer, which is on record by then."""
    query = ChatQuery(model="quoting", messages=[Turn(role="user", content=question)])
    answer = await memos.doorway.chats.chat(memos.administrator, query)
    await memos.doorway.chats.settle()
    return answer.response


async def test_API_3_an_answer_tells_which_memories_it_was_given(memos: InProcess) -> None:
    await add(memos, "trains", "Ana likes night trains.")
    await add(memos, "boats", "Ana fears boats.")
    await memos.service.update(
        memos.administrator, "boats", MemoryChange(text="Ana fears small boats.")
    )
    response = await asked(memos, "What does Ana like, trains or boats?")
    other = await asked(memos, "What does Ana fear?")
    assert response and other != response
    found = await entries(memos, response=response)
    assert {(one.memory_id, one.version) for one in found} == {("trains", 1), ("boats", 2)}
    for one in found:
        assert (one.operation, one.request_id, one.detail["form"]) == (
            ANSWER,
            response,
            "plaintext",
        )
        assert one.detail["model"] == "quoting"
    # Not a word of them.
    assert "night" not in str(found)
    # The other way round: what a memory was given to.
    answers = await entries(memos, reads=True, memory_id="trains", operation=ANSWER)
    assert response in {one.request_id for one in answers}


async def test_API_3_answers_of_others_are_theirs(memos: InProcess) -> None:
    await add(memos, "trains", "Ana likes night trains.")
    response = await asked(memos, "What does Ana like?")
    ben = await memos.caller("user:ben")
    assert await entries(memos, ben, response=response) == []
    assert await entries(memos, response="unknown") == []


async def test_API_3_reads_are_found_by_memory_however_they_were_read(memos: InProcess) -> None:
    await add(memos, "one", "The first one about foxes.")
    await add(memos, "two", "The second one about foxes.")
    me, service = memos.administrator, memos.service
    await service.get(me, "one")
    await service.list(me)
    await service.search(me, SearchQuery(query="foxes"))
    await service.get(me, "two")
    found = await entries(memos, reads=True, memory_id="one")
    assert [one.operation for one in found] == ["get", "list", "search"]
    assert [one.memory_id for one in found] == ["one", None, None]
    # An id that is the beginning of another one is not it.
    await add(memos, "on", "Nothing of that kind.")
    assert await entries(memos, reads=True, memory_id="on") == []


async def test_API_3_filters_by_time_caller_operation_outcome_and_form(memos: InProcess) -> None:
    me, service = memos.administrator, memos.service
    await memos.namespace("team")
    await add(memos, "one", "Words.", "team", visibility=Visibility.PRIVATE)
    ben = await memos.caller("user:ben")
    await service.share(me, "one", Sharing(readers=["user:ben"]), "team")
    with pytest.raises(PermissionDeniedError):
        await service.update(ben, "one", MemoryChange(text="Others."), "team")
    denied = await entries(memos, namespace="team", outcome=Outcome.DENIED)
    assert [(one.principal, one.outcome) for one in denied] == [("user:ben", "denied")]
    shared = await entries(memos, namespace="team", operation="share")
    assert [one.memory_id for one in shared] == ["one"]
    assert [one.operation for one in await entries(memos, ben, "team")] == ["merge"]
    texts = await entries(memos, namespace="team", form=Form.PLAINTEXT)
    assert {one.operation for one in texts} == {"create", "share", "merge"}
    assert await entries(memos, namespace="team", form=Form.PARAMETER) == []
    begin = shared[0].at
    since = await entries(memos, namespace="team", since=begin)
    assert [one.operation for one in since] == ["share", "merge"]
    assert await entries(memos, namespace="team", until=begin - timedelta(days=1)) == []
    assert await entries(memos, namespace="team", since=memos.clock.now()) == []


async def test_API_3_the_whole_tenant_in_order_and_only_for_who_may(memos: InProcess) -> None:
    for number in range(6):
        await memos.namespace(f"place-{number}")
        await add(memos, f"m-{number}", "Words.", f"place-{number}")
    found = await entries(memos, everywhere=True, operation="create", limit=2)
    assert [one.memory_id for one in found] == [f"m-{number}" for number in range(6)]
    assert [one.at for one in found] == sorted(one.at for one in found)
    ben = await memos.caller("user:ben")
    assert await entries(memos, ben, everywhere=True) == []
    with pytest.raises(PermissionDeniedError):
        await entries(memos, ben, everywhere=True, principal="user:admin")
    with pytest.raises(NotFoundError):
        await memos.service.get(ben, "m-0", "place-0")
    # What a refusal has hidden, its own entry does not tell either.
    assert "m-0" not in str(await entries(memos, ben, "place-0"))
    page = await memos.doorway.logs.log(memos.administrator, limit=1)
    with pytest.raises(InvalidCursorError):
        await memos.doorway.logs.log(memos.administrator, "place-1", cursor="x")
    assert page.entries == [] or page.cursor is None


async def test_API_3_a_call_looks_at_a_bounded_number(
    memos: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With windows of two entries, pages are short or empty, and nothing gets lost."""
    monkeypatch.setattr(reading, "_WINDOW", 2)
    monkeypatch.setattr(reading, "_WINDOWS", 2)
    for number in range(20):
        await add(memos, f"m-{number}", "Words.")
    await memos.service.freeze(memos.administrator, "m-3")
    first = await memos.doorway.logs.log(memos.administrator, wanted=LogFilter(operation="freeze"))
    assert first.entries == [] and first.cursor is not None
    assert [one.memory_id for one in await entries(memos, operation="freeze")] == ["m-3"]
    assert len(await entries(memos, operation="create")) == 20
