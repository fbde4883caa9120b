"""What a credential is still worth: every decision looks it up again in the current documents.

A `CallContext` may be older than the policy that decides about it: the key may have been revoked,
the role taken away, the principal disabled since. Standing can therefore only be narrower than what
the credential carried.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from memos_ray.core.access.context import Action, CallContext, Principal
from memos_ray.core.access.keys import KeyProof, matches
from memos_ray.core.access.model import ANYONE, ApiKey, JwtIssuer, PrincipalRecord
from memos_ray.errors import CredentialExpiredError, UnauthenticatedError

KEY_CREDENTIAL = "key:"
JWT_CREDENTIAL = "jwt:"


@dataclass(frozen=True, slots=True)
class Standing:
    """What counts of a caller.

    Attributes:
        refusal: why nothing counts; empty when the rest does.
        names: the id and the roles in use, as subjects of scopes on a memory.
        subjects: `names` and `*`, as subjects of rules, grants and memberships.
        application: as fixed by the credential, else as the request says.
    """

    refusal: str
    names: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    application: str | None = None


@dataclass(frozen=True, slots=True)
class Credentials:
    """The documents that credentials are checked against.

    A caller without a credential is one that the cluster vouches for, such as a background actor;
    it needs a record as any other and has no more than the roles there.
    """

    tenant: str
    disabled: bool
    principals: Mapping[str, PrincipalRecord]
    keys: Mapping[str, ApiKey]
    issuers: Mapping[str, JwtIssuer]

    def standing(self, context: CallContext, action: Action, now: datetime) -> Standing:
        """Decides what counts of the caller for one action."""
        caller = context.principal
        if caller.tenant != self.tenant or self.disabled:
            return Standing("tenant")
        record = self.principals.get(caller.id)
        if record is not None and record.disabled:
            return Standing("principal")
        held, application = set(caller.roles), context.application
        kind, _, credential = caller.credential.partition(":")
        trusted: set[str] = set() if record is None else set(record.roles)
        if kind == "jwt":
            issuer = self.issuers.get(credential)
            if issuer is None or not caller.id.startswith(issuer.principal("")):
                return Standing("credential")
            if record is None and not issuer.admits_unknown:
                return Standing("principal")
            trusted.update(issuer.assertable_roles)
        elif record is None:
            return Standing("principal")
        elif kind == "key":
            key = self.keys.get(credential)
            if key is None or key.principal != caller.id or not in_force(key, now):
                return Standing("credential")
            if key.scopes and action not in key.scopes:
                return Standing("scope")
            application = key.application or application
        elif kind:
            return Standing("credential")
        if caller.scopes and action not in caller.scopes:
            return Standing("scope")
        held &= trusted
        if context.role is not None:
            if context.role not in held:
                return Standing("role")
            held = {context.role}
        names = (caller.id, *(f"role:{role}" for role in sorted(held)))
        return Standing("", names, (*names, ANYONE), application)

    def authenticate_key(self, proof: KeyProof, now: datetime) -> Principal:
        """Resolves an API key to its principal (see `TenantPolicy.authenticate_key`)."""
        key = self.keys.get(proof.key_id)
        # An unknown id costs the same hash and comparison as a known one.
        genuine = matches(proof, key.digest if key else "0" * 64)
        if key is None or not genuine or proof.tenant != self.tenant:
            raise UnauthenticatedError("nobody knows this API key")
        if not key.revoked and key.expires_at is not None and key.expires_at <= now:
            raise CredentialExpiredError("the API key has expired", credential=key.id)
        record = self.principals.get(key.principal)
        if record is None or record.disabled or self.disabled or not in_force(key, now):
            raise UnauthenticatedError("nobody knows this API key")
        return Principal(self.tenant, record.id, record.roles, KEY_CREDENTIAL + key.id, key.scopes)

    def application(self, principal: Principal) -> str | None:
        """Returns the application that the principal's key is bound to, if any."""
        key = self.keys.get(principal.credential.removeprefix(KEY_CREDENTIAL))
        return None if key is None else key.application


def in_force(key: ApiKey, now: datetime) -> bool:
    """Tells whether a key may be used: not revoked, and inside its time."""
    return (
        not key.revoked
        and (key.not_before is None or key.not_before <= now)
        and (key.expires_at is None or now < key.expires_at)
    )
