"""Role templates: what a persona has, for whoever takes it on. YAML files and REST bodies."""

from __future__ import annotations

from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from memos_ray.core.access import names
from memos_ray.core.access.personas import Persona, Space
from memos_ray.errors import InvalidInputError

HOME = "{home}"
"""In a template, the home of who takes it on."""

Word = Annotated[str, StringConstraints(pattern=f"^{names.WORD}$")]
_Part = rf"(?:\{{home\}}|{names.PRINCIPAL}|{names.WORD})(?:/{names.WORD}){{0,4}}"
_Place = Annotated[str, StringConstraints(max_length=names.NAMESPACE_MAX, pattern=f"^{_Part}$")]
_Member = Annotated[str, StringConstraints(max_length=256, pattern=rf"^(?:\*|{names.SUBJECT})$")]
_Told = Annotated[str, StringConstraints(max_length=8192, pattern=r"^[^\x00]*$")]
_Label = Annotated[str, StringConstraints(max_length=256, pattern=r"^[\x20-\x7e]+$")]
_Tag = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^\x00]+$")]


class SpaceTemplate(BaseModel):
    """A namespace that is made with a persona.

    Below the home of who takes the role on it is private. Elsewhere it is a pool, which takes an
    administrator; `members` read what is shared there, and remember there, too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: _Place
    members: Annotated[list[_Member], Field(max_length=64)] = []


class PersonaTemplate(BaseModel):
    """A role that people take on, with a memory stream of its own.

    `role` is the role in use by which calls speak as this persona, its name when absent. `stream`
    is where it remembers, `shared` where its searches and conversations look besides; `{home}`
    stands for the home of who takes it on. What it `creates` is made with it, where it is not there
    yet, and shared. `purpose` is that of calls that state none, `preface`
    stands before its conversations. Memories of the stream get `tags`, and `half_life_s` unless
    they say otherwise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")

    name: Word
    role: Word | None = None
    description: _Told = ""
    stream: _Place | None = None
    shared: Annotated[list[_Place], Field(max_length=16)] = [HOME]
    creates: Annotated[list[SpaceTemplate], Field(max_length=8)] = []
    purpose: _Label | None = None
    preface: _Told = ""
    tags: Annotated[list[_Tag], Field(max_length=32)] = []
    half_life_s: Annotated[float, Field(gt=0, lt=3_162_240_000.0)] | None = None

    def persona_of(self, principal: str) -> Persona:
        """Returns the persona of a principal who takes the role on."""
        stream = self.stream or f"{HOME}/{self.name}"
        places = dict.fromkeys((*self.shared, *(space.name for space in self.creates)))
        return Persona(
            principal=principal,
            name=self.name,
            role=self.role or self.name,
            stream=stream.replace(HOME, principal),
            shared=tuple(place.replace(HOME, principal) for place in places),
            purpose=self.purpose,
            preface=self.preface,
            tags=tuple(self.tags),
            half_life_s=self.half_life_s,
            description=self.description,
        )

    def spaces_of(self, principal: str) -> tuple[Space, ...]:
        """Returns the namespaces that are made when a principal takes the role on."""
        return tuple(
            Space(one.name.replace(HOME, principal), tuple(one.members)) for one in self.creates
        )


def read_template(text: str) -> PersonaTemplate:
    """Reads a template in YAML or JSON.

    Raises:
        InvalidInputError: what is wrong with it, and where.
    """
    try:
        return template_of(yaml.safe_load(text))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = None if mark is None else mark.line + 1
        raise InvalidInputError("the template is not valid YAML", line=line) from None


def template_of(document: object) -> PersonaTemplate:
    """Makes a template of a mapping.

    Raises:
        InvalidInputError: what is wrong with it, and where.
    """
    try:
        return PersonaTemplate.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise InvalidInputError(
            "the template is not sound", field=field, why=first["msg"]
        ) from None
