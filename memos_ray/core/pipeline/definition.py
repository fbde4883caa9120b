"""What a pipeline is: named steps that form a directed acyclic graph (PIPE-1).

The models are what YAML files, REST bodies and the Python builder are read into, what rests in
journals, and what the runner works from; their JSON schema is published in `docs/pipelines.md`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from memos_ray.core.access import names
from memos_ray.core.cube import filters
from memos_ray.core.cube.filters.syntax import EXPRESSION_BYTES_MAX
from memos_ray.core.cube.identity import digest
from memos_ray.core.cube.metadata import SemanticType
from memos_ray.core.pipeline.conditions import fields_of
from memos_ray.core.pipeline.templates import ITEM, PARAMS, paths_in
from memos_ray.errors import InvalidInputError, MemosError

STEPS_MAX = 64
ITEMS_MAX = 200
TEXT_MAX = 65_536
TURNS_MAX = 100
# What `now` means in a filter does not matter to whether it can be read.
_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)

Scalar = bool | int | float | Annotated[str, StringConstraints(max_length=4096)]


def _template(text: str) -> str:
    try:
        paths_in(text)
    except MemosError as error:
        raise ValueError(error.message) from None
    return text


StepName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
PipelineName = Annotated[str, StringConstraints(pattern=f"^{names.WORD}$")]
Namespace = Annotated[
    str, StringConstraints(max_length=names.NAMESPACE_MAX, pattern=f"^{names.NAMESPACE}$")
]
Template = Annotated[
    str, StringConstraints(min_length=1, max_length=TEXT_MAX), AfterValidator(_template)
]
Condition = Annotated[str, StringConstraints(min_length=1, max_length=EXPRESSION_BYTES_MAX)]
Tag = Annotated[str, StringConstraints(min_length=1, max_length=256), AfterValidator(_template)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")


class Parameter(_Part):
    """A value that a run is given; needed unless it has a default."""

    default: Scalar | None = None
    description: Annotated[str, StringConstraints(max_length=1024)] = ""


class _Step(_Part):
    """What all steps have.

    Attributes:
        needs: steps that must have ended; the one before it when absent.
        when: a condition over the context; the step is skipped where it is false. A step whose
            needs were all skipped is skipped, too.
        retries: how often it is tried again when a retry may help.
        backoff_s: pause before the first retry; doubled before each further one.
        timeout_s: longest time of one try.
    """

    id: StepName
    needs: Annotated[tuple[StepName, ...], Field(max_length=STEPS_MAX)] | None = None
    when: Condition | None = None
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    backoff_s: Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)] = 0.5
    timeout_s: Annotated[float, Field(gt=0, le=600, allow_inf_nan=False)] = 30.0


class _Mapped(_Step):
    """A step that may be carried out for each memory of another one, several at once."""

    each: StepName | None = None
    at_once: Annotated[int, Field(ge=1, le=16)] = 4


class Said(_Part):
    """Something that was said before a question; `name` is who said it, among several people."""

    role: Literal["user", "assistant"] = "user"
    content: Template
    name: Annotated[str, StringConstraints(min_length=1, max_length=256)] | None = None


class Retrieve(_Mapped):
    """Finds memories: by `ids`, or by a query, a filter, or both.

    What the query leaves to the dialogue ("and when did she?") is filled from `turns`, oldest
    first, as searches do it.
    """

    kind: Literal["retrieve"] = "retrieve"
    query: Template | None = None
    turns: Annotated[tuple[Said, ...], Field(max_length=TURNS_MAX)] = ()
    filter: Condition | None = None
    ids: Annotated[tuple[Template, ...], Field(max_length=ITEMS_MAX)] = ()
    namespace: Namespace | None = None
    limit: Annotated[int, Field(ge=1, le=ITEMS_MAX)] = 10


class Filter(_Step):
    """Keeps the memories of a step that a filter accepts, as in searches."""

    kind: Literal["filter"] = "filter"
    of: StepName
    keep: Condition
    limit: Annotated[int, Field(ge=1, le=ITEMS_MAX)] = ITEMS_MAX


class Augment(_Mapped):
    """Makes a text: of a template, or what a model answers to it."""

    kind: Literal["augment"] = "augment"
    template: Template
    model: Annotated[str, StringConstraints(min_length=1, max_length=256)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=8192)] = 256


class Create(_Mapped):
    """Stores a new memory."""

    kind: Literal["create"] = "create"
    text: Template
    tags: Annotated[tuple[Tag, ...], Field(max_length=64)] = ()
    semantic_type: SemanticType = SemanticType.FACT
    memory_id: Template | None = None
    namespace: Namespace | None = None


class Update(_Step):
    """Changes the text of each memory of a step."""

    kind: Literal["update"] = "update"
    of: StepName
    text: Template
    mode: Literal["append", "overwrite", "merge"] = "merge"


class AddTags(_Step):
    """Adds tags to each memory of a step."""

    kind: Literal["tag"] = "tag"
    of: StepName
    tags: Annotated[tuple[Tag, ...], Field(min_length=1, max_length=64)]


class Delete(_Step):
    """Deletes each memory of a step softly, so that it can be restored."""

    kind: Literal["delete"] = "delete"
    of: StepName


class Archive(_Step):
    """Puts each memory of a step away: kept and read, but left out of searches and prompts."""

    kind: Literal["archive"] = "archive"
    of: StepName


class Convert(_Step):
    """Makes memories the beginning of their namespace's prompts, once the run has committed."""

    kind: Literal["convert"] = "convert"
    of: StepName
    model: Annotated[str, StringConstraints(min_length=1, max_length=256)]


class Teach(_Step):
    """Has a model taught the memories of a step, once the run has committed."""

    kind: Literal["teach"] = "teach"
    of: StepName
    model: Annotated[str, StringConstraints(min_length=1, max_length=256)]


class Publish(_Step):
    """Sends a text to a webhook that the settings allow, once the run has committed."""

    kind: Literal["publish"] = "publish"
    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s@]+$", max_length=2048)]
    text: Template


Writing = Update | AddTags | Delete | Archive
"""Steps that change each memory of another one."""

Step = Retrieve | Filter | Augment | Create | Writing | Convert | Teach | Publish
_STORED = (Retrieve, Filter)
_MADE = (*_STORED, Create)


class PipelineSpec(_Part):
    """A pipeline, as written.

    Raises, when made: `ValueError` for steps that do not form a graph, and for names in templates
    and conditions that no earlier step or parameter has.
    """

    name: PipelineName
    description: Annotated[str, StringConstraints(max_length=1024)] = ""
    parameters: Annotated[dict[StepName, Parameter], Field(max_length=64)] = {}
    steps: Annotated[
        tuple[Annotated[Step, Field(discriminator="kind")], ...],
        Field(min_length=1, max_length=STEPS_MAX),
    ]

    @model_validator(mode="after")
    def _sound(self) -> PipelineSpec:
        ids = [step.id for step in self.steps]
        if len(set(ids)) < len(ids):
            raise ValueError("two steps have one id")
        if {PARAMS, ITEM} & set(ids):
            raise ValueError(f"no step can be called `{PARAMS}` or `{ITEM}`")
        needs = self.needs()
        for name, wanted in needs.items():
            if unknown := set(wanted) - set(ids):
                raise ValueError(f"step {name} needs {', '.join(sorted(unknown))}: no such step")
        order(needs)
        for step in self.steps:
            self._check_names(step)
        return self

    def needs(self) -> dict[str, tuple[str, ...]]:
        """Returns what each step needs, by its id; absent needs are the step before it."""
        found: dict[str, tuple[str, ...]] = {}
        before: tuple[str, ...] = ()
        for step in self.steps:
            found[step.id] = before if step.needs is None else step.needs
            before = (step.id,)
        return found

    def step(self, id: str) -> Step:
        """Returns the step of this id."""
        return next(step for step in self.steps if step.id == id)

    def earlier(self, id: str) -> set[str]:
        """Returns the steps that have ended whenever a step begins."""
        needs, found, open_ = self.needs(), set[str](), [id]
        while open_:
            fresh = set(needs[open_.pop()]) - found
            found |= fresh
            open_ += fresh
        return found

    def digest(self) -> str:
        """Identifies the definition."""
        return digest(b"memos-pipeline-1", self.model_dump_json().encode())

    def bound(self, given: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """Returns the value of every parameter.

        Raises:
            InvalidInputError: one is missing, or is none of this pipeline.
        """
        if unknown := sorted(set(given) - set(self.parameters)):
            raise InvalidInputError("there is no such parameter", parameters=unknown)
        values: dict[str, Scalar] = {}
        for name, parameter in self.parameters.items():
            value = given.get(name, parameter.default)
            if value is None:
                raise InvalidInputError("a parameter is missing", parameter=name)
            values[name] = value
        return values

    def _check_names(self, step: Step) -> None:
        earlier = self.earlier(step.id)
        source = getattr(step, "of", None) or getattr(step, "each", None)
        if source is not None:
            if source not in earlier:
                raise ValueError(f"step {step.id} uses {source}, which does not come before it")
            # What a run makes is there only after its commit.
            allowed = _STORED if isinstance(step, _Mapped | Filter) else _MADE
            if not isinstance(self.step(source), allowed):
                raise ValueError(f"step {step.id} uses {source}, which has no memories")
        mapped = source is not None and not isinstance(step, Convert | Teach | Filter)
        try:
            paths = list(_paths(step))
            for condition in (getattr(step, "filter", None), getattr(step, "keep", None)):
                if condition is not None:
                    filters.parse(condition, _ANY_TIME)
        except MemosError as error:
            raise ValueError(f"step {step.id}: {error.message}") from None
        for path in paths:
            root, _, rest = path.partition(".")
            if root == PARAMS:
                known = rest in self.parameters
            elif root == ITEM:
                known = mapped
            else:
                known = root in earlier
            if not known:
                raise ValueError(f"step {step.id} names {path}, which is not known there")
        if isinstance(step, Retrieve) and not (step.ids or step.query or step.filter):
            raise ValueError(f"step {step.id} needs ids, a query or a filter")
        if isinstance(step, Retrieve) and step.turns and not step.query:
            raise ValueError(f"step {step.id} has turns, and no query that they come before")


def _paths(step: Step) -> Iterable[str]:
    if step.when is not None:
        yield from fields_of(step.when)
    for name in ("query", "template", "text", "memory_id"):
        if text := getattr(step, name, None):
            yield from paths_in(text)
    for name in ("ids", "tags"):
        for text in getattr(step, name, ()):
            yield from paths_in(text)
    for turn in getattr(step, "turns", ()):
        yield from paths_in(turn.content)


def order(needs: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Sorts steps so that each comes after what it needs; else as they are written.

    Raises:
        ValueError: they need one another in a circle.
    """
    found: list[str] = []
    left = dict(needs)
    while left:
        ready = [step for step, wanted in left.items() if not set(wanted) & set(left)]
        if not ready:
            raise ValueError(f"steps need one another in a circle: {', '.join(left)}")
        found += ready
        for step in ready:
            del left[step]
    return found


def read_definition(document: object) -> PipelineSpec:
    """Makes a pipeline of decoded JSON or YAML.

    Raises:
        InvalidInputError: it is none; says where and why.
    """
    try:
        return PipelineSpec.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise InvalidInputError(
            f"this is no pipeline: {first['msg'].removeprefix('Value error, ')}",
            field=".".join(map(str, first["loc"])) or "pipeline",
            problems=error.error_count(),
        ) from None
