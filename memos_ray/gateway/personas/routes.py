"""Personas: made, listed, shown and retired."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from memos_ray.core.personas import PersonaTemplate
from memos_ray.core.personas.template import Word
from memos_ray.gateway.fields import PrincipalId
from memos_ray.gateway.personas.models import PersonaInfo, PersonaList
from memos_ray.gateway.requests import CallerDep, DoorwayDep, JsonRoute

router = APIRouter(route_class=JsonRoute, tags=["personas"])

_Name = Annotated[Word, Path(description="Name of the persona.")]
_Whose = Annotated[PrincipalId | None, Query(description="Whose; the caller's own when absent.")]


@router.get("/personas")
async def list_personas(
    caller: CallerDep, doorway: DoorwayDep, principal: _Whose = None
) -> PersonaList:
    """Lists the personas of a principal."""
    return await doorway.personas.list(caller, principal)


@router.put("/personas/{name}")
async def put_persona(
    name: _Name,
    body: PersonaTemplate,
    caller: CallerDep,
    doorway: DoorwayDep,
    principal: _Whose = None,
) -> PersonaInfo:
    """Makes a persona from a template, or changes it."""
    return await doorway.personas.put(caller, name, body, principal)


@router.get("/personas/{name}")
async def show_persona(
    name: _Name, caller: CallerDep, doorway: DoorwayDep, principal: _Whose = None
) -> PersonaInfo:
    """Shows a persona."""
    return await doorway.personas.show(caller, name, principal)


@router.delete("/personas/{name}")
async def retire_persona(
    name: _Name, caller: CallerDep, doorway: DoorwayDep, principal: _Whose = None
) -> PersonaInfo:
    """Ends the use of a persona; its stream stays closed to the other roles."""
    return await doorway.personas.retire(caller, name, principal)
