"""The caller's roles: `memos.personas`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memos_ray.client.arguments import check
from memos_ray.core.personas import PersonaTemplate, read_template, template_of
from memos_ray.errors import InvalidInputError, NotFoundError, PermissionDeniedError
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.personas.models import PersonaInfo, PersonaList

if TYPE_CHECKING:
    from memos_ray.client.asynchronous import AsyncMemOS
    from memos_ray.client.http.personas import HttpPersonas
    from memos_ray.gateway.personas.service import PersonaService

Template = PersonaTemplate | Mapping[str, Any] | Path

_FILE_MAX = 1 << 16


class AsyncPersonas:
    """Roles of one principal, each with a memory stream of its own and shared parts.

    Args:
        speaking: returns the client in another role.
    """

    def __init__(
        self,
        api: HttpPersonas | PersonaService,
        caller: Callable[[], Caller],
        speaking: Callable[[str], AsyncMemOS],
    ) -> None:
        self._api = api
        self._caller = caller
        self._speaking = speaking

    async def create(
        self, template: Template | None = None, *, principal: str | None = None, **fields: Any
    ) -> PersonaInfo:
        """Makes a persona from a role template, or changes it.

        Args:
            template: a template, a mapping, or a YAML file.
            principal: whose persona it is; anybody else's takes an administrator.
            fields: fields of `PersonaTemplate`, in place of those of the template.

        Raises:
            PermissionDeniedError: the role is not held, or not used by who changes its persona.
            ConflictError: the role or the stream is another persona's.
        """
        check(principal=principal)
        made = _read(template, fields)
        return await self._api.put(self._caller(), made.name, made, principal)

    async def list(self, *, principal: str | None = None) -> PersonaList:
        """Lists the personas of a principal."""
        check(principal=principal)
        return await self._api.list(self._caller(), principal)

    async def show(self, name: str, *, principal: str | None = None) -> PersonaInfo:
        """Shows a persona."""
        check(id=name, principal=principal)
        return await self._api.show(self._caller(), name, principal)

    async def use(self, name: str) -> AsyncMemOS:
        """Returns a view of the client that speaks as a persona.

        Raises:
            NotFoundError: there is no such persona, or it is retired.
            PermissionDeniedError: the credential does not hold the role.
        """
        return self._speaking(await self.role_of(name))

    async def role_of(self, name: str) -> str:
        """Returns the role in use by which calls speak as a persona; raises as `use`."""
        found = await self.show(name)
        if found.retired:
            raise NotFoundError("there is no such persona", persona=name)
        if not found.held:
            raise PermissionDeniedError("the caller does not hold this role", role=found.role)
        return found.role

    async def delete(self, name: str, *, principal: str | None = None) -> PersonaInfo:
        """Ends the use of a persona; its stream stays closed to the other roles.

        Raises:
            PermissionDeniedError: the call does not use its role.
        """
        check(id=name, principal=principal)
        return await self._api.retire(self._caller(), name, principal)


def _read(template: Template | None, fields: Mapping[str, Any]) -> PersonaTemplate:
    match template:
        case None:
            given: Mapping[str, Any] = {}
        case PersonaTemplate():
            given = template.model_dump(exclude_unset=True)
        case Path():
            given = _file(template).model_dump(exclude_unset=True)
        case _:
            given = template
    return template_of({**given, **fields})


def _file(path: Path) -> PersonaTemplate:
    try:
        if path.stat().st_size > _FILE_MAX:
            raise InvalidInputError("the file is too long for a template", file=str(path))
        return read_template(path.read_text("utf-8"))
    except FileNotFoundError:
        raise NotFoundError("there is no such file", file=str(path)) from None
    except (OSError, UnicodeDecodeError):
        raise InvalidInputError("the file cannot be read as text", file=str(path)) from None
