"""From a credential to a call context: who is calling, bound to its tenant."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from memos_ray.actors.policy.guard import PolicyGuard
from memos_ray.core.access import keys
from memos_ray.core.access.context import CallContext
from memos_ray.core.access.jwt import claimed_source
from memos_ray.core.access.policy import TenantPolicy
from memos_ray.errors import PermissionDeniedError, UnauthenticatedError
from memos_ray.gateway.admission import CallRates
from memos_ray.ports import ClockPort


@dataclass(frozen=True, slots=True)
class Caller:
    """What a request says of its caller; only the credential counts for who that is.

    Attributes:
        credential: an API key or a JSON Web Token.
        purpose: why memory is wanted.
        role: the one role to use.
        application: calling application; a key that is bound to one overrides it.
        request_id: joins the log entries of one request.
        policy: version of the tenant's policy that the call must be judged by at least.
    """

    credential: str = field(repr=False)
    purpose: str | None = None
    role: str | None = None
    application: str | None = None
    request_id: str = ""
    policy: int = 0


class Authenticator:
    """Resolves callers against the policy snapshots."""

    def __init__(
        self, guard: PolicyGuard, clock: ClockPort, rates: CallRates | None = None
    ) -> None:
        self._guard = guard
        self._clock = clock
        self._rates = rates

    async def context(self, caller: Caller) -> tuple[CallContext, TenantPolicy]:
        """Returns the context of a call and the policy of its tenant.

        Raises:
            UnauthenticatedError: no credential, or one that nobody knows.
            CredentialExpiredError: a credential past its expiry.
            PermissionDeniedError: the caller does not hold the role it wants to use.
            PolicyUnavailableError: there is no fresh policy to decide from.
            OverloadedError: the tenant calls more often than it may.
        """
        if not caller.credential:
            raise UnauthenticatedError("a credential is needed")
        now = self._clock.now()
        if caller.credential.startswith("mk_"):
            proof = keys.parse(caller.credential)
            await self._known(proof.tenant)
            policy = await self._guard.ensure(proof.tenant, caller.policy)
            principal = policy.authenticate_key(proof, now)
        else:
            tenant = await self._tenant_of(caller.credential)
            policy = await self._guard.ensure(tenant, caller.policy)
            principal = policy.authenticate_jwt(caller.credential, now)
        if self._rates is not None:
            # Behind the proof of who it is: nobody uses up what is another tenant's.
            self._rates.check(principal.tenant)
        if caller.role is not None and caller.role not in principal.roles:
            raise PermissionDeniedError("the caller does not hold this role", role=caller.role)
        context = CallContext(
            principal=principal,
            purpose=caller.purpose,
            role=caller.role,
            application=policy.application(principal) or caller.application,
            request_id=caller.request_id,
            policy=policy.version,
        )
        persona = policy.persona(context)
        if persona is not None:
            purpose = context.purpose or persona.purpose
            context = replace(context, purpose=purpose, stream=persona.stream)
        return context, policy

    async def _known(self, tenant: str) -> None:
        # The authority is not asked for tenants that somebody made up.
        if tenant not in (await self._guard.ensure_directory()).tenants:
            raise UnauthenticatedError("nobody knows this API key")

    async def _tenant_of(self, token: str) -> str:
        issuer, audiences = claimed_source(token)
        tenant = (await self._guard.ensure_directory()).tenant_of(issuer, audiences)
        if tenant is None:
            raise UnauthenticatedError("nobody here accepts tokens of this issuer")
        return tenant
