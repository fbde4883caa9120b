"""From adapters back to text: what they were taught, and what they say when they are asked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import blake2b

from memos_ray.actors.activation.promoting import Writing
from memos_ray.actors.parameter.adapters import Adapters, gone_in, no_adapter
from memos_ray.actors.vault.reading import RecordReader
from memos_ray.actors.vault.residency import Place
from memos_ray.core.activation import SourceVersion
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.facets import to_micros
from memos_ray.core.cube.identity import new_id
from memos_ray.core.cube.metadata import Origin, SourceRef, Visibility
from memos_ray.core.cube.payload import ParameterRef, Plaintext
from memos_ray.core.cube.predicate import Predicate
from memos_ray.core.defects import describe_defect
from memos_ray.core.lifecycle.states import GONE
from memos_ray.core.parameter import Externalised, ExternaliseReport, ProbingState, Way
from memos_ray.core.scheduling import holds
from memos_ray.core.teaching import Knowledge
from memos_ray.core.vault.log import Commit, CubeKey
from memos_ray.core.vault.operations import Create, Learnt, Write
from memos_ray.core.vault.planning import Submission
from memos_ray.core.vault.requests import ExternaliseRequest
from memos_ray.errors import (
    AlreadyExistsError,
    InternalError,
    MemosError,
    NotFoundError,
    UnavailableError,
    VersionConflictError,
)
from memos_ray.ports import ProbingSpec, TrainerPort

TAG = "externalised"
_CONFIDENCE = "confidence"
_PATIENCE_S = 1.0
_MOST = 256
_TRIES = 3
_ENTROPY_BYTES = 8
_PARTITION_BYTES = 2
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Key:
    """What is done for whom; `who` has all that policy may judge by."""

    place: Place
    adapter_id: str
    probe: bool
    who: tuple[str | None, ...]


@dataclass(slots=True)
class _Job:
    """One adapter that is turned into text, while its caller asks again and again.

    Attributes:
        concerns: the adapter and its sources.
    """

    concerns: frozenset[CubeKey]
    probing: ProbingState
    memories: list[Externalised] = field(default_factory=list)
    reason: str | None = None
    error: MemosError | None = None
    task: asyncio.Task[None] | None = None

    @property
    def ended(self) -> bool:
        return self.task is not None and self.task.done()

    def cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a job is about.

    Attributes:
        parameter: the parameter memory.
        visible: what the caller may read.
    """

    place: Place
    parameter: MemCube
    request: ExternaliseRequest
    visible: Predicate

    @property
    def model(self) -> str:
        return str(self.parameter.descriptive.attributes.get("model", ""))

    @property
    def sources(self) -> list[SourceVersion]:
        return [
            SourceVersion(one.cube_id, one.version)
            for one in self.parameter.descriptive.sources
            if one.cube_id is not None and one.version is not None
        ]


@dataclass(frozen=True, slots=True)
class _Source:
    """A source that is still there: as it was learnt, and as it is now."""

    then: MemCube
    now: MemCube

    @property
    def source(self) -> SourceVersion:
        return SourceVersion(self.then.id, self.then.version.number)


class Externalising:
    """Makes plaintext memories from adapters.

    Their ids follow from the adapter, the source and the way, so that each is made once, whoever
    asks how often. None is wider open than the parameter memory and its source. Lineage needs no
    more than the parameter memory, and goes on when the adapter itself is retired.

    Each follows what it was made of (see `Write.derived_from`), in the transaction that makes it:
    the text of a source that source, what the model has said the parameter memory and all that it
    has learnt, for nobody knows which of it was said.

    Concurrency: methods run on the actor's event loop; the same is not done twice at a time.
    """

    def __init__(
        self,
        adapters: Adapters,
        trainer: TrainerPort | None,
        *,
        reader: RecordReader,
        now: Callable[[], datetime],
        write: Writing,
    ) -> None:
        self._adapters = adapters
        self._trainer = trainer
        self._reader = reader
        self._now = now
        self._write = write
        self._jobs: dict[_Key, _Job] = {}

    async def externalise(
        self, place: Place, request: ExternaliseRequest, visible: Predicate
    ) -> ExternaliseReport:
        """Begins, or joins, and returns what there is after a while.

        Args:
            visible: what the caller may read.

        Raises:
            NotFoundError: there is no such parameter memory that the caller may read.
            MemosError: what the vault says to the new memories.
        """
        wanted = _Wanted(place, await self._parameter(place, request), request, visible)
        # Whoever else asks may not read all that this caller may.
        by = request.context
        who = (by.principal.id, by.role, by.purpose, by.application)
        key = _Key(place, request.adapter_id, request.probe, who)
        job = self._jobs.get(key)
        if job is None:
            self._forget_ended()
            concerns = (request.adapter_id, *(one.cube_id for one in wanted.sources))
            job = self._jobs[key] = _Job(
                frozenset(CubeKey(place.tenant, id) for id in concerns),
                ProbingState.RUNNING if request.probe else ProbingState.OFF,
            )
            job.task = asyncio.create_task(self._run(job, wanted))
        assert job.task is not None
        await asyncio.wait([job.task], timeout=_PATIENCE_S)
        if job.ended and self._jobs.get(key) is job:
            # Who asks again has it done again, which makes nothing new.
            del self._jobs[key]
        if job.error is not None:
            raise job.error
        # Not all that there will be, whether somebody is asked or not.
        state = job.probing if job.ended else ProbingState.RUNNING
        return ExternaliseReport(
            request.adapter_id, place.namespace, tuple(job.memories), state, job.reason
        )

    def apply(self, commit: Commit) -> None:
        """Ends what concerns memories that a commit deletes."""
        gone = gone_in(commit)
        for job in self._jobs.values() if gone else ():
            if job.concerns & gone:
                job.cancel()

    def drop(self, partition: int) -> None:
        """Forgets a partition that this shard no longer owns."""
        for key in [key for key in self._jobs if key.place.partition == partition]:
            self._jobs.pop(key).cancel()

    async def close(self) -> None:
        """Ends everything."""
        tasks = [job.task for job in self._jobs.values() if job.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget_ended(self) -> None:
        """Forgets what has ended and nobody has asked about again, when there is much of it."""
        if len(self._jobs) >= _MOST:
            self._jobs = {key: job for key, job in self._jobs.items() if not job.ended}

    async def _parameter(self, place: Place, request: ExternaliseRequest) -> MemCube:
        (found,) = await self._reader.get(place.partition, request.context, [request.adapter_id])
        if (
            found is None
            or found.namespace != place.namespace
            or found.state in GONE
            or not isinstance(found.payload, ParameterRef)
        ):
            raise no_adapter(request.adapter_id)
        return found

    async def _run(self, job: _Job, wanted: _Wanted) -> None:
        try:
            learnt = await self._from_lineage(job, wanted)
        except MemosError as error:
            job.error = error
            return
        except asyncio.CancelledError:
            job.error = UnavailableError("this has ended; ask again")
            raise
        if not wanted.request.probe:
            return
        try:
            job.memories += await self._probed(wanted, learnt)
            job.probing = ProbingState.DONE
        except asyncio.CancelledError:
            # The next time tells whether there is anything left to ask.
            job.probing, job.reason = ProbingState.FAILED, UnavailableError.code
            raise
        except MemosError as error:
            job.probing, job.reason = ProbingState.FAILED, error.code
            _log.warning("an adapter was not asked: %s", error.code)
        except Exception as error:
            job.probing, job.reason = ProbingState.FAILED, InternalError.code
            _log.warning("an adapter was not asked: %s", describe_defect(error))

    async def _learnt(self, wanted: _Wanted) -> list[_Source]:
        """Returns the sources that are still there, in their order."""
        partition, context = wanted.place.partition, wanted.request.context
        heads = await self._reader.get(partition, context, [one.cube_id for one in wanted.sources])
        found = []
        for source, head in zip(wanted.sources, heads, strict=True):
            if head is None or head.namespace != wanted.place.namespace:
                continue
            if not holds(head, self._now()):
                continue
            then = head
            if head.version.number != source.version:
                try:
                    then = await self._reader.version(
                        partition, context, source.cube_id, source.version
                    )
                except NotFoundError:
                    continue
            if then.version.created_at > wanted.parameter.descriptive.created_at:
                # It was not there to be learnt: another memory has the id now.
                continue
            found.append(_Source(then, head))
        return found

    async def _from_lineage(self, job: _Job, wanted: _Wanted) -> list[_Source]:
        """Stores the texts that were learnt; returns those that are still there."""
        for _ in range(_TRIES):
            learnt = await self._learnt(wanted)
            makes = [_made_of(wanted, one, one.then.text, 1.0) for one in learnt]
            try:
                job.memories = await self._made(wanted, makes)
            except VersionConflictError:
                # One has moved on meanwhile.
                continue
            return learnt
        raise UnavailableError("the memories change all the time", retry_after_s=_PATIENCE_S)

    async def _probed(self, wanted: _Wanted, learnt: Sequence[_Source]) -> list[Externalised]:
        model, place = wanted.model, wanted.place
        # One that nothing uses any more is not asked either.
        taught = await self._adapters.named(place, model, wanted.request.adapter_id, wanted.visible)
        if self._trainer is None or model not in self._trainer.models:
            raise UnavailableError("nobody can ask this model", model=model)
        knowledge = tuple(
            Knowledge(one.source, one.then.text, one.then.descriptive.semantic_type)
            for one in learnt
        )
        said = await self._trainer.probe(ProbingSpec(model, knowledge, taught.weights))
        found = {one.source: one for one in said}
        # That may have taken a while: it may be shared with fewer by now.
        wanted = replace(wanted, parameter=await self._parameter(place, wanted.request))
        ids = (*(one.cube_id for one in taught.learnt), *(one.id for one in taught.stale))
        makes = [
            _made_of(wanted, one, answer.text, answer.confidence, ids)
            # What has gone meanwhile stays gone.
            for one in await self._learnt(wanted)
            if (answer := found.get(one.source)) is not None
        ]
        return await self._made(wanted, makes)

    async def _made(
        self, wanted: _Wanted, makes: Sequence[tuple[Write, Externalised]]
    ) -> list[Externalised]:
        request, partition = wanted.request, wanted.place.partition
        submissions = [Submission(request.context, write) for write, _ in makes]
        outcomes = await self._write(partition, submissions) if makes else []
        earlier = []
        for outcome, (_, made) in zip(outcomes, makes, strict=True):
            if isinstance(outcome, AlreadyExistsError):
                earlier.append(made.cube_id)
            elif isinstance(outcome, MemosError):
                raise outcome
        # Those of an earlier time are reported as they are now, or not at all.
        heads = await self._reader.get(partition, request.context, earlier)
        there = {head.id: head for head in heads if head and head.state not in GONE}
        return [
            _as_it_is(made, there[made.cube_id]) if made.cube_id in there else made
            for _, made in makes
            if made.cube_id in there or made.cube_id not in earlier
        ]


def _made_of(
    wanted: _Wanted, one: _Source, text: str, confidence: float, said_of: tuple[str, ...] = ()
) -> tuple[Write, Externalised]:
    """Returns how to make a memory, and what is said of it.

    Args:
        said_of: ids of all that the adapter has learnt, where it was asked.
    """
    source, about, rules = one.source, one.then.descriptive, one.now.governance
    parameter, way = wanted.parameter, Way.PROBING if said_of else Way.LINEAGE
    # What the model says may be of anything that it has learnt; a source's own text is not.
    marked = (rules, parameter.governance) if said_of else (rules,)
    private = Visibility.PRIVATE in (rules.visibility, parameter.governance.visibility)
    language = one.then.payload.language if isinstance(one.then.payload, Plaintext) else None
    ended = one.now.descriptive.valid_to
    if one.now.text != one.then.text:
        # It was said otherwise later, and held until then.
        ended = one.now.descriptive.updated_at
    create = Create(
        payload=Plaintext(text, language),
        id=_id_of(wanted, source, way),
        origin=Origin.CONVERSION,
        semantic_type=about.semantic_type,
        tags=tuple(sorted({*about.tags, TAG})),
        setting=about.setting,
        event_time=about.event_time,
        valid_from=about.valid_from,
        valid_to=ended,
        sources=(
            SourceRef(cube_id=parameter.id, version=parameter.version.number),
            SourceRef(cube_id=source.cube_id, version=source.version),
        ),
        attributes={"way": way.value, _CONFIDENCE: confidence, "model": wanted.model},
        visibility=Visibility.PRIVATE if private else None,
        lifespan=rules.lifespan,
        sensitivity=tuple(sorted({label for one in marked for label in one.sensitivity})),
        compliance=tuple(sorted({label for one in marked for label in one.compliance})),
        watermark=rules.watermark,
        provenance_id=one.now.provenance_id if way is Way.LINEAGE else None,
    )
    through = (parameter.id, parameter.version.number)
    write = Write(
        wanted.request.namespace,
        create,
        reason=f"externalised from adapter {parameter.id}",
        derived_from=((one.now.id, one.now.version.number), *((through,) if said_of else ())),
        learnt=Learnt(parameter.id, said_of),
    )
    return write, Externalised(create.cube_id, source, way, confidence)


def _as_it_is(made: Externalised, cube: MemCube) -> Externalised:
    confidence = cube.descriptive.attributes.get(_CONFIDENCE)
    return replace(made, confidence=confidence) if isinstance(confidence, float) else made


def _id_of(wanted: _Wanted, source: SourceVersion, way: Way) -> str:
    """Returns the id of a memory: it names its partition, as minted ones do."""
    adapter_id = wanted.parameter.id
    made_of = f"{adapter_id}/{source.cube_id}/{source.version}/{way}"
    entropy = blake2b(made_of.encode(), digest_size=_ENTROPY_BYTES).digest()
    at_ms = to_micros(wanted.parameter.descriptive.created_at) // 1000
    partition = wanted.place.partition.to_bytes(_PARTITION_BYTES, "big")
    return new_id(at_ms, entropy + partition)
