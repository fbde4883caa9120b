"""PersonaService: the roles of a principal, for all doors."""

from __future__ import annotations

from memos_ray.core.access.context import CallContext
from memos_ray.core.access.model import TENANT_ITSELF
from memos_ray.core.access.personas import Persona, PutPersona, RetirePersona
from memos_ray.core.access.policy import TenantPolicy
from memos_ray.core.personas import PersonaTemplate
from memos_ray.errors import InvalidInputError, NotFoundError, PermissionDeniedError
from memos_ray.gateway.admin.service import AdminService
from memos_ray.gateway.callers import Authenticator, Caller
from memos_ray.gateway.personas.models import PersonaInfo, PersonaList
from memos_ray.ports import ClockPort


class PersonaService:
    """Makes, shows and retires personas.

    Every method takes the `Caller`; `principal` is the caller when absent, and anybody else's
    personas are for administrators of the tenant.
    """

    def __init__(self, authenticator: Authenticator, admin: AdminService, clock: ClockPort) -> None:
        self._authenticator = authenticator
        self._admin = admin
        self._clock = clock

    async def put(
        self, caller: Caller, name: str, template: PersonaTemplate, principal: str | None = None
    ) -> PersonaInfo:
        """Makes a persona from a template, or changes it.

        Raises:
            PermissionDeniedError: the role is not held, or not used by who changes its persona; or
                a namespace that it creates is not the caller's to make.
            ConflictError: the role or the stream is another persona's.
            IllegalStateError: the role or the stream would change.
        """
        if template.name != name:
            raise InvalidInputError("the persona has another name", field="name", name=name)
        context, _ = await self._authenticator.context(caller)
        whose = principal or context.principal.id
        made = PutPersona(template.persona_of(whose), template.spaces_of(whose))
        await self._admin.change(caller, made)
        return await self.show(caller, name, principal)

    async def list(self, caller: Caller, principal: str | None = None) -> PersonaList:
        """Lists the personas of a principal."""
        context, policy = await self._authenticator.context(caller)
        found = [one for one in self._of(context, policy, principal) if not one.retired]
        return PersonaList(personas=[_shown(one, context) for one in found])

    async def show(self, caller: Caller, name: str, principal: str | None = None) -> PersonaInfo:
        """Shows a persona, a retired one too.

        Raises:
            NotFoundError: there is none of this name.
        """
        context, policy = await self._authenticator.context(caller)
        for one in self._of(context, policy, principal):
            if one.name == name:
                return _shown(one, context)
        raise NotFoundError("there is no such persona", persona=name)

    async def retire(self, caller: Caller, name: str, principal: str | None = None) -> PersonaInfo:
        """Ends the use of a persona; its stream stays closed to the other roles.

        Raises:
            NotFoundError: there is none of this name.
            PermissionDeniedError: the call does not use its role.
        """
        context, _ = await self._authenticator.context(caller)
        whose = principal or context.principal.id
        await self._admin.change(caller, RetirePersona(whose, name))
        return await self.show(caller, name, principal)

    def _of(
        self, context: CallContext, policy: TenantPolicy, principal: str | None
    ) -> tuple[Persona, ...]:
        whose = principal or context.principal.id
        now = self._clock.now()
        if whose != context.principal.id and not policy.may_administer(context, TENANT_ITSELF, now):
            raise PermissionDeniedError("only administrators see others' personas")
        return tuple(one for one in policy.documents.personas if one.principal == whose)


def _shown(one: Persona, context: CallContext) -> PersonaInfo:
    own = one.principal == context.principal.id
    return PersonaInfo(
        tenant=context.principal.tenant,
        policy=context.policy,
        name=one.name,
        principal=one.principal,
        role=one.role,
        stream=one.stream,
        shared=list(one.shared),
        purpose=one.purpose,
        preface=one.preface,
        tags=list(one.tags),
        half_life_s=one.half_life_s,
        description=one.description,
        held=own and one.role in context.principal.roles,
        in_use=own and one.role == context.role,
        retired=one.retired,
    )
