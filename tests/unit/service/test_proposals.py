"""What is used again and again is proposed, or taught: with reasons, never in private, once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("transformers")

from memos_ray.actors.parameter.proposing import Proposing
from memos_ray.config import VaultSettings
from memos_ray.core.cube.metadata import Visibility
from memos_ray.core.cube.payload import Form
from memos_ray.core.parameter import TeachingState
from memos_ray.core.scheduling import Learning
from memos_ray.errors import IllegalStateError, NotFoundError, PermissionDeniedError
from memos_ray.gateway.activation.models import Conversion
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.chat.models import ChatAnswer, ChatQuery, Turn
from memos_ray.gateway.memories.models import MemoryChange, NewMemory, Sharing
from memos_ray.gateway.parameter.models import LessonReport, Teaching
from memos_ray.gateway.parameter.proposal_models import Proposal
from memos_ray.serving.replica import ModelReplica
from memos_ray.serving.tokenizer import ModelTokenizer
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.engines import HashingEngine
from memos_ray.testing.in_process import InProcess, in_process
from memos_ray.testing.models import ReplicaModel
from memos_ray.testing.random_models import write_tokenizer
from memos_ray.testing.trainers import RandomTrainer

MODEL = "hashing"
DAY = 86_400.0
RULES = Learning(
    enter=3.0, leave=1.0, conversations=3, settled_s=DAY, lesson_share=0.02, pause_s=DAY
)
FACTS = (
    "The garden of the office in the north is kept by Ana, every day.",
    "The archive of the office in the north is kept by Ben, every day.",
)
GARDEN = "Who keeps the garden?"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> ModelTokenizer:
    return ModelTokenizer(write_tokenizer(tmp_path_factory.mktemp("tokenizer")))


class Bench:
    """A MemOS whose model learns by what is used, in a folder that can be opened again."""

    def __init__(self, folder: Path, tokenizer: ModelTokenizer, stack: AsyncExitStack) -> None:
        self.folder = folder
        self._tokenizer = tokenizer
        self._stack = stack
        self.trainer = RandomTrainer()
        self.trainer.go_on.set()
        self.clock = ManualClock()
        self.memos: InProcess
        self.ids: list[str] = []
        self.asked = 0

    async def open(self, rules: Learning = RULES) -> None:
        await self._stack.aclose()
        replica = ModelReplica(HashingEngine(), self._tokenizer, context_tokens=2048)
        model = ReplicaModel(replica)
        opened = in_process(
            self.folder,
            models={MODEL: model},
            kv_builder=model,
            trainer=self.trainer,
            learning={MODEL: rules},
            clock=self.clock,
            settings=VaultSettings(partitions=4),
        )
        self.memos = await self._stack.enter_async_context(opened)

    @property
    def admin(self) -> Caller:
        return self.memos.administrator

    async def fill(self, namespace: str | None = None) -> None:
        """Stores the facts, which then stay as they are for a long time."""
        facts = [NewMemory(text=text) for text in FACTS]
        report = await self.memos.service.add(self.admin, facts, namespace)
        self.ids = [result.id or "" for result in report.results]
        self.clock.advance(400 * DAY)

    async def ask(
        self, question: str = GARDEN, caller: Caller | None = None, **more: object
    ) -> ChatAnswer:
        """Asks in a conversation of its own, unless it has a session, and has all decided."""
        self.asked += 1
        query = ChatQuery.model_validate(
            {
                "model": MODEL,
                "messages": [Turn(role="user", content=question)],
                "memories": 1,
                "max_tokens": 2,
                "session": f"talk-{self.asked}",
                **more,
            }
        )
        answer = await self.memos.doorway.chats.chat(caller or self.admin, query)
        await self.memos.doorway.chats.settle()
        await self.quiet()
        return answer

    async def proposals(
        self, namespace: str | None = None, caller: Caller | None = None
    ) -> list[Proposal]:
        service = self.memos.doorway.parameter
        return (await service.proposals(caller or self.admin, namespace)).proposals

    async def proposed(self, times: int = 8, **more: object) -> Proposal:
        """Asks so often that there is a proposal."""
        for _ in range(times):
            await self.ask(**more)  # type: ignore[arg-type]
        names = more.get("namespaces")
        namespace = names[0] if isinstance(names, list) else None
        (proposal,) = await self.proposals(namespace)
        return proposal

    async def quiet(self) -> None:
        """Returns when what was to be decided is."""
        while deciding := [task for task in asyncio.all_tasks() if _is_decision(task)]:
            await asyncio.wait(deciding)

    async def lessons(self) -> list[LessonReport]:
        return (await self.memos.doorway.parameter.lessons(self.admin)).lessons

    async def counts(self) -> dict[str, int]:
        total: dict[str, int] = {}
        for shard in self.memos.crew.shards.values():
            for name, count in (await shard.status()).counters.items():
                total[name] = total.get(name, 0) + count
        return total


@pytest.fixture
async def bench(tokenizer: ModelTokenizer, tmp_path: Path) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        made = Bench(tmp_path, tokenizer, stack)
        await made.open()
        yield made


def _is_decision(task: asyncio.Task[object]) -> bool:
    name = getattr(task.get_coro(), "__qualname__", "")
    return name.startswith(f"{Proposing.__name__}.")


async def until(found: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(60):
        while not await found():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_what_several_conversations_need_is_proposed_with_reasons(bench: Bench) -> None:
    await bench.fill()
    proposal = await bench.proposed()
    (memory,) = proposal.memories
    assert (memory.id, memory.version) == (bench.ids[0], 1)
    assert memory.conversations >= 3 and memory.uses >= 3 and not memory.learnt
    assert proposal.tokens > 0 and proposal.saved_s > 0 and proposal.lesson_s > 0
    assert proposal.model == MODEL and len(proposal.reasons) == 4
    assert "Ana" not in " ".join(proposal.reasons)
    counts = await bench.counts()
    assert counts["proposals_made"] == 1
    assert bench.trainer.lessons == []
    # It stays as it is, however often it is asked for.
    await bench.ask()
    assert await bench.proposals() == [proposal]
    assert (await bench.counts())["proposals_made"] == 1


async def test_one_conversation_is_not_enough(bench: Bench) -> None:
    await bench.fill()
    for _ in range(12):
        await bench.ask(session="one")
    assert await bench.proposals() == []
    for _ in range(12):
        # Without a session what was said first tells conversations apart.
        await bench.ask(session=None)
    assert await bench.proposals() == []


async def test_what_has_just_changed_is_not_proposed(bench: Bench) -> None:
    await bench.fill()
    change = MemoryChange(text=FACTS[0].replace("Ana", "Cleo"), mode="overwrite")
    await bench.memos.service.update(bench.admin, bench.ids[0], change)
    for _ in range(8):
        await bench.ask()
    assert await bench.proposals() == []
    bench.clock.advance(100 * DAY)
    proposal = await bench.proposed()
    assert [(one.id, one.version) for one in proposal.memories] == [(bench.ids[0], 2)]


async def test_an_accepted_proposal_is_learnt(bench: Bench) -> None:
    await bench.fill()
    proposal = await bench.proposed()
    parameter = bench.memos.doorway.parameter
    bench.trainer.go_on.clear()
    lesson = await parameter.accept(bench.admin, proposal.id)
    assert lesson.state is TeachingState.TRAINING
    assert await bench.proposals() == []
    with pytest.raises(NotFoundError):
        await parameter.accept(bench.admin, proposal.id)
    bench.trainer.go_on.set()

    async def live() -> bool:
        return (await parameter.lesson(bench.admin, lesson.id)).state is TeachingState.LIVE

    await until(live)
    answer = await bench.ask()
    assert [one.form for one in answer.memories] == [Form.PARAMETER]
    assert await bench.proposals() == [], "it knows that now"
    cube = await bench.memos.service.get(bench.admin, lesson.id)
    history = await bench.memos.service.history(bench.admin, cube.id)
    assert history.versions[0].reason == "a proposal was accepted"
    assert (await bench.counts())["proposals_accepted"] == 1


async def test_a_proposal_that_cannot_be_begun_stays(bench: Bench) -> None:
    await bench.fill()
    proposal = await bench.proposed()
    bench.trainer.go_on.clear()
    parameter = bench.memos.doorway.parameter
    await parameter.teach(bench.admin, Teaching(ids=[bench.ids[1]], model=MODEL))
    with pytest.raises(IllegalStateError):
        await parameter.accept(bench.admin, proposal.id)
    assert await bench.proposals() == [proposal]


async def test_what_is_refused_does_not_come_again(bench: Bench) -> None:
    await bench.fill()
    proposal = await bench.proposed()
    refused = await bench.memos.doorway.parameter.refuse(bench.admin, proposal.id)
    assert refused == proposal
    with pytest.raises(NotFoundError):
        await bench.memos.doorway.parameter.refuse(bench.admin, proposal.id)
    for _ in range(8):
        await bench.ask()
    assert await bench.proposals() == []
    # Nor after a restart.
    await bench.open()
    for _ in range(8):
        await bench.ask()
    assert await bench.proposals() == []
    # But as a part of something else.
    proposal = await bench.proposed(question="Who keeps the archive?", times=16)
    assert {one.id for one in proposal.memories} == set(bench.ids)


async def test_it_survives_a_restart_and_does_not_grow_cold_by_it(bench: Bench) -> None:
    await bench.fill()
    proposal = await bench.proposed()
    bench.memos.crew.cut_off("shard-0")
    await bench.ask("What is the archive?")
    assert await bench.proposals() == [proposal]
    await bench.open()
    assert await bench.proposals() == [proposal]


async def test_it_is_withdrawn_when_nobody_asks_any_more(bench: Bench) -> None:
    await bench.fill()
    await bench.proposed()
    bench.clock.advance(20 * DAY)
    await bench.ask("Who keeps the archive?")

    async def gone() -> bool:
        return not await bench.proposals()

    await until(gone)
    assert (await bench.counts())["proposals_withdrawn"] == 1


@pytest.mark.parametrize("how", ["change", "delete", "erase"])
async def test_it_goes_when_a_memory_changes_or_is_deleted(bench: Bench, how: str) -> None:
    await bench.fill()
    proposal = await bench.proposed()
    if how == "change":
        change = MemoryChange(tags=["x"])
        await bench.memos.service.update(bench.admin, bench.ids[0], change)
    else:
        await bench.memos.service.delete(bench.admin, bench.ids[0], hard=how == "erase")
    assert await bench.proposals() == []
    with pytest.raises(NotFoundError):
        await bench.memos.doorway.parameter.accept(bench.admin, proposal.id)
    await until(lambda: rows_gone(bench))


async def rows_gone(bench: Bench) -> bool:
    return not any(bench.memos.store.derivations(number, "proposal") for number in range(4))


async def test_what_is_deleted_leaves_refusals_too(bench: Bench) -> None:
    await bench.fill()
    proposal = await bench.proposed()
    await bench.memos.doorway.parameter.refuse(bench.admin, proposal.id)
    assert not await rows_gone(bench)
    await bench.memos.service.delete(bench.admin, bench.ids[0])
    await until(lambda: rows_gone(bench))


async def test_what_changed_while_nobody_looked_is_not_proposed(bench: Bench) -> None:
    await bench.fill()
    await bench.proposed()
    shard = bench.memos.crew.cut_off("shard-0")
    await bench.memos.service.delete(bench.admin, bench.ids[0])
    assert await bench.proposals() == []
    await until(lambda: rows_gone(bench))
    assert shard is not None


async def test_private_memories_of_a_common_place_are_not_proposed(bench: Bench) -> None:
    await bench.memos.namespace("team")
    await bench.fill("team")
    for _ in range(8):
        await bench.ask(namespaces=["team"])
    assert await bench.proposals("team") == []
    for id in bench.ids:
        sharing = Sharing(visibility=Visibility.SHARED)
        await bench.memos.service.share(bench.admin, id, sharing)
    bench.clock.advance(100 * DAY)
    proposal = await bench.proposed(namespaces=["team"])
    assert [one.id for one in proposal.memories] == bench.ids[:1]


async def test_who_may_not_teach_there_sees_nothing_and_decides_nothing(bench: Bench) -> None:
    await bench.fill()
    stranger = await bench.memos.caller("user:stranger")
    home = bench.memos.administrator_id
    proposal = await bench.proposed()
    assert await bench.proposals(home, stranger) == []
    sharing = Sharing(visibility=Visibility.SHARED, readers=["user:stranger"])
    await bench.memos.service.share(bench.admin, bench.ids[1], sharing)
    assert await bench.proposals(home, stranger) == []
    parameter = bench.memos.doorway.parameter
    for act in (parameter.accept, parameter.refuse):
        with pytest.raises((NotFoundError, PermissionDeniedError)):
            await act(stranger, proposal.id, home)
    assert await bench.proposals() == [proposal]


async def test_a_model_learns_by_itself_one_lesson_at_a_time(bench: Bench) -> None:
    await bench.open(replace(RULES, automatic=True))
    await bench.fill()
    stranger = await bench.memos.caller("user:stranger")
    home = bench.memos.administrator_id
    sharing = Sharing(visibility=Visibility.SHARED, readers=["user:stranger"])
    for id in bench.ids:
        await bench.memos.service.share(bench.admin, id, sharing)
    bench.clock.advance(100 * DAY)
    for _ in range(8):
        await bench.ask(caller=stranger, namespaces=[home])
    assert bench.trainer.lessons == [], "not with the rights of somebody who has none"
    bench.trainer.go_on.clear()
    await until(lambda: asked_until_taught(bench, 1))
    for _ in range(4):
        await bench.ask("Who keeps the archive?")
    assert len(bench.trainer.lessons) == 1, "one at a time"
    bench.trainer.go_on.set()

    async def live() -> bool:
        return [one.state for one in await bench.lessons()] == [TeachingState.LIVE]

    await until(live)
    (lesson,) = await bench.lessons()
    assert [one.id for one in lesson.memories] == bench.ids[:1]
    cube = await bench.memos.service.get(bench.admin, lesson.id)
    assert cube.attributes == {"model": MODEL, "state": "live", "automatic": True}
    history = await bench.memos.service.history(bench.admin, lesson.id)
    assert history.versions[0].reason == "use: 1 memories, 0 learnt before"
    for _ in range(12):
        await bench.ask("Who keeps the archive?")
    assert len(bench.trainer.lessons) == 1, "not yet again"
    bench.clock.advance(DAY)
    for _ in range(12):
        await bench.ask("Who keeps the archive?")
    await until(lambda: asked_until_taught(bench, 2))
    taught = [one.source.cube_id for one in bench.trainer.lessons[1].knowledge]
    assert taught == bench.ids, "what it knows is taught again"
    assert await bench.proposals() == []
    assert (await bench.counts())["lessons_automatic"] == 2


async def asked_until_taught(bench: Bench, lessons: int) -> bool:
    await bench.ask()
    return len(bench.trainer.lessons) >= lessons


async def test_what_the_gate_rejects_is_not_taught_again_and_again(bench: Bench) -> None:
    bench.trainer.accepted = False
    await bench.open(replace(RULES, automatic=True, pause_s=1.0))
    await bench.fill()
    await until(lambda: asked_until_taught(bench, 1))

    async def rejected() -> bool:
        return [one.state for one in await bench.lessons()] == [TeachingState.REJECTED]

    await until(rejected)
    bench.clock.advance(60.0)
    for _ in range(8):
        await bench.ask()
    assert len(bench.trainer.lessons) == 1


async def test_what_somebody_taught_that_ends_is_left_alone(bench: Bench) -> None:
    await bench.fill()
    soon = NewMemory(text="The cat is called Tom.", valid_to=bench.clock.now().replace(year=2100))
    ends = NewMemory(text="The dog is called Rex.", sensitivity=["health"])
    report = await bench.memos.service.add(bench.admin, [soon, ends])
    wanted = Teaching(ids=[result.id or "" for result in report.results], model=MODEL)
    await bench.memos.doorway.parameter.teach(bench.admin, wanted)

    async def live() -> bool:
        return [one.state for one in await bench.lessons()] == [TeachingState.LIVE]

    await until(live)
    for _ in range(8):
        await bench.ask()
    assert await bench.proposals() == []


async def test_a_cache_is_taught_as_the_memories_that_it_is_of(bench: Bench) -> None:
    await bench.fill()
    wanted = Conversion(ids=bench.ids, model=MODEL)
    made = await bench.memos.doorway.activation.convert(bench.admin, wanted)
    block = made.results[0].id or ""
    parameter = bench.memos.doorway.parameter
    lesson = await parameter.teach(bench.admin, Teaching(ids=[block], model=MODEL))
    assert [one.id for one in lesson.memories] == bench.ids

    async def live() -> bool:
        return (await parameter.lesson(bench.admin, lesson.id)).state is TeachingState.LIVE

    await until(live)
    cube = await bench.memos.service.get(bench.admin, lesson.id)
    assert [one.memory_id for one in cube.sources] == [*bench.ids, block]
    result = await parameter.lesson(bench.admin, lesson.id)
    assert result.state is TeachingState.LIVE
    # The cache may go; what it was of may not.
    await bench.memos.service.delete(bench.admin, block)
    assert (await parameter.lesson(bench.admin, lesson.id)).state is TeachingState.LIVE
    again = await bench.memos.doorway.activation.convert(bench.admin, wanted)
    await bench.memos.service.delete(bench.admin, bench.ids[0], hard=True)
    with pytest.raises(NotFoundError):
        ids = [again.results[0].id or ""]
        await parameter.teach(bench.admin, Teaching(ids=ids, model=MODEL))
