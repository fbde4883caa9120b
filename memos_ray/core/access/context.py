"""Who calls, and under which circumstances: the first and third part of GOV-1's triple."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from memos_ray.core.crossing import crossing


class Action(StrEnum):
    """What a caller may be allowed to do with a memory, or with a tenant's administration."""

    READ = "read"
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    SHARE = "share"
    ADMINISTER = "administer"


@crossing
@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller, as resolved from its credential and never from a request field.

    Attributes:
        tenant: tenant that the credential is bound to.
        id: `user:…`, `agent:…` or `service:…`.
        roles: names of the roles bound to it.
        credential: id of the credential (never its secret), for the audit log.
        scopes: actions that the credential is narrowed to; all when empty.
    """

    tenant: str
    id: str
    roles: tuple[str, ...] = ()
    credential: str = ""
    scopes: tuple[Action, ...] = ()

    @property
    def subjects(self) -> tuple[str, ...]:
        """The names under which scopes and grants may mention this principal."""
        return (self.id, *(f"role:{role}" for role in self.roles))


@crossing
@dataclass(frozen=True, slots=True)
class CallContext:
    """The circumstances of one call; travels with it through every hop.

    Attributes:
        purpose: why the memory is wanted, such as `support` or `training`.
        role: the one role in use; all roles of the principal when absent.
        application: calling application, as named by its credential or request.
        request_id: joins the log events of one request.
        policy: version of the tenant's policy that the gateway let the call in by; whoever decides
            further on must know at least that one, so that no call meets an older policy than the
            one before it.
        hops: sequential remote calls made so far, for the hop budgets.
        stream: where the persona remembers that the caller speaks as; none when absent.
        background: whether nobody waits for it, so that what somebody waits for goes first.
    """

    principal: Principal
    purpose: str | None = None
    role: str | None = None
    application: str | None = None
    request_id: str = ""
    policy: int = 0
    hops: int = 0
    stream: str = ""
    background: bool = False

    @property
    def home(self) -> str:
        """The namespace that is meant where none is named."""
        return self.stream or self.principal.id

    def aside(self) -> CallContext:
        """Returns the context for work that nobody waits for."""
        return replace(self, background=True)

    def hop(self) -> CallContext:
        """Returns the context for one more remote call."""
        return replace(self, hops=self.hops + 1)
