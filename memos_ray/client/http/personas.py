"""Personas over HTTP."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from memos_ray.client.http.link import RestLink
from memos_ray.core.personas import PersonaTemplate
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.personas.models import PersonaInfo, PersonaList

_PATH = "/v1/personas"


class HttpPersonas:
    """Speaks REST; has the verbs of `PersonaService`."""

    def __init__(self, link: RestLink) -> None:
        self._link = link

    async def put(
        self, caller: Caller, name: str, template: PersonaTemplate, principal: str | None = None
    ) -> PersonaInfo:
        """Makes a persona, or changes it."""
        body = template.model_dump(mode="json")
        return await self._change("PUT", caller, name, principal, body)

    async def list(self, caller: Caller, principal: str | None = None) -> PersonaList:
        """Lists personas."""
        return await self._link.call(PersonaList, "GET", _PATH, caller, principal=principal)

    async def show(self, caller: Caller, name: str, principal: str | None = None) -> PersonaInfo:
        """Shows a persona."""
        return await self._link.call(PersonaInfo, "GET", _one(name), caller, principal=principal)

    async def retire(self, caller: Caller, name: str, principal: str | None = None) -> PersonaInfo:
        """Ends the use of a persona."""
        return await self._change("DELETE", caller, name, principal, None)

    async def _change(
        self,
        method: str,
        caller: Caller,
        name: str,
        principal: str | None,
        body: dict[str, Any] | None,
    ) -> PersonaInfo:
        # A second retirement finds nothing to retire.
        info = await self._link.call(
            PersonaInfo,
            method,
            _one(name),
            caller,
            body,
            principal=principal,
            repeatable=method == "PUT",
        )
        self._link.note_policy(info.tenant, info.policy)
        return info


def _one(name: str) -> str:
    return f"{_PATH}/{quote(name, safe='')}"
