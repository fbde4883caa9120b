"""Who may do what with which memory, and when: the decision of every path (GOV-1).

The model is ternary: principal x memory x calling context. It denies by default, and a denial wins
over everything that allows, ownership included.

Before anything else, the call is refused when the principal is of another tenant, unknown or
disabled; when its key or issuer is gone, expired, revoked or narrowed to other actions; or when the
context names a role that the principal does not hold. A role in use narrows: only its rules, its
grants, its memberships and the scopes that name it count, for allowing and for denying alike, next
to what names the principal itself or `*`.

A *persona* binds a namespace to a role of its principal (see `personas`): in any other role, and in
none, that principal may do nothing there, neither read nor administer. Others are not concerned.

*Admission* to a namespace for an action comes from
    home        the principal's own home (`user:ann`, `user:ann/…`) and the private namespaces that
                it owns; it counts as owner of every memory there;
    membership  being owner or member of the namespace;
    a grant     on exactly this namespace, naming the action, not expired;
    a rule      that allows the action here; a wildcard reaches private namespaces only when it
                spells out `user:`, `agent:` or `service:`.

Decision table. Each cell says for which memories the action is allowed; *own* means owned by the
caller; a condition of the rule or grant always applies on top. A denial, or an expired memory where
marked †, is never allowed.

    through             READ†             UPDATE†, SHARE†   DELETE            CREATE   ADMINISTER
    ------------------  ----------------  ----------------  ----------------  -------  ----------
    home                all               all               all               all      yes
    membership          own, shared,      own               own               own      owner only
                        read-only
    rule/grant, SHARED  own, shared,      own, shared       own, shared       own      yes
                        read-only
    rule/grant, PRIVATE all               own, shared,      own, shared,      own      yes
                                          private           private
    named in the        readers           writers (UPDATE)  none              none     none
    memory's scopes                       sharers (SHARE),
                                          not if read-only
    none of these       none              none              none              none     none

What follows, and is meant:
    - A private memory is read by its owner, by its named readers, and by those to whom a rule or
      grant of reach `PRIVATE` has been given; administering a tenant does not include reading.
    - Naming a reader, writer or sharer on one memory is a permission of its own and needs no
      admission: one memory can be shared out of a home without opening the home. Each scope gives
      its own action only; a writer who is not a reader writes blindly.
    - Ownership is a fact, not a permission: outside the home it counts only while the owner is
      admitted to the namespace. Taking away a grant takes away the access to own memories, too.
    - Nobody but its owner changes, shares or deletes a read-only memory.
    - In a read-only namespace nothing is created, changed, shared or deleted, by anybody;
      `ADMINISTER`, which changes the mode, is not affected.
    - A memory is created as one's own; who may also `ADMINISTER` the namespace creates for others
      (imports).
    - `ADMINISTER` disregards visibility and expiry and never discloses content.
    - Names in scopes are looked up without asking whether the namespace exists, so that a search
      tells an absent namespace and a closed one apart for nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache

from memos_ray.core.access import compiled, jwt
from memos_ray.core.access.conditions import Call
from memos_ray.core.access.context import Action, CallContext, Principal
from memos_ray.core.access.coverage import NAMED_READER, SCOPES, covered, membership, named
from memos_ray.core.access.decision import Decision, Plan, Term
from memos_ray.core.access.documents import TenantDocuments
from memos_ray.core.access.keys import KeyProof
from memos_ray.core.access.model import (
    CLUSTER,
    TENANT_ITSELF,
    NamespaceKind,
    NamespaceMode,
    NamespaceSpec,
    default_spec,
)
from memos_ray.core.access.names import base_of
from memos_ray.core.access.namespaces import Namespaces
from memos_ray.core.access.personas import Persona, Streams
from memos_ray.core.access.standing import Credentials, Standing
from memos_ray.core.cube.facets import Facets, to_micros
from memos_ray.core.cube.predicate import (
    Between,
    Everything,
    Nothing,
    OneOf,
    Predicate,
    all_of,
)
from memos_ray.errors import NotFoundError, PermissionDeniedError

_WRITES = (Action.CREATE, Action.UPDATE, Action.DELETE, Action.SHARE)
_NOT_ON_EXPIRED = (Action.READ, Action.UPDATE, Action.SHARE)
_PLANS = 64
_NO_MEMORIES = frozenset({TENANT_ITSELF, CLUSTER})


class TenantPolicy:
    """The compiled policy of one tenant at one version; immutable.

    Every method takes the moment to decide for. Equal arguments give equal answers.
    """

    def __init__(self, documents: TenantDocuments) -> None:
        """Compiles.

        Raises:
            InvalidInputError: for a time zone that this machine does not know.
        """
        self.documents = documents
        self._index = compiled.build(documents)
        self._namespaces = Namespaces(documents.namespaces)
        self._credentials = Credentials(
            documents.tenant.id,
            documents.tenant.disabled,
            {record.id: record for record in documents.principals},
            {key.id: key for key in documents.keys},
            {issuer.id: issuer for issuer in documents.issuers},
        )
        self._streams = Streams(documents.personas)
        # A batch asks the same of one moment for each of its memories.
        self._plan = lru_cache(_PLANS)(self._plan_anew)

    @property
    def tenant(self) -> str:
        """Id of the tenant."""
        return self._credentials.tenant

    @property
    def version(self) -> int:
        """Version of the documents; grows with every change."""
        return self.documents.version

    def authenticate_key(self, proof: KeyProof, now: datetime) -> Principal:
        """Resolves an API key to its principal.

        Raises:
            UnauthenticatedError: unknown, wrong or revoked key, or one not in force yet; disabled
                principal or tenant. The message does not tell which.
            CredentialExpiredError: a genuine key past its expiry.
        """
        return self._credentials.authenticate_key(proof, now)

    def authenticate_jwt(self, token: str, now: datetime) -> Principal:
        """Resolves a JSON Web Token to its principal.

        Raises:
            UnauthenticatedError: not a token of an issuer that this tenant accepts, or its subject
                is unknown or disabled.
            CredentialExpiredError: a genuine token past its expiry.
        """
        return jwt.verify(token, self._credentials, now)

    def application(self, principal: Principal) -> str | None:
        """Returns the application that the principal's key is bound to, if any."""
        return self._credentials.application(principal)

    def namespace(self, name: str) -> NamespaceSpec:
        """Returns a namespace; a home exists without having been created.

        A branch is the namespace that it was made from.

        Raises:
            NotFoundError: there is none of this name.
        """
        name = base_of(name)
        spec = self._namespaces.get(name)
        if spec is not None:
            return spec
        if not self._namespaces.exists(name):
            raise no_namespace(name)
        return default_spec(name, NamespaceKind.USER_PRIVATE, name)

    def persona(self, context: CallContext) -> Persona | None:
        """Returns the persona that the caller speaks as, by the role in use."""
        return self._streams.in_use(context.principal.id, context.role)

    def scope(self, context: CallContext, now: datetime) -> tuple[str, ...]:
        """Returns where a call looks that names no namespace: what it may not read is left out."""
        persona = self.persona(context)
        if persona is None:
            return (context.home,)
        standing = self._credentials.standing(context, Action.READ, now)
        shared = (one for one in persona.shared if self._admits(standing, context, one, now))
        return (persona.stream, *shared)

    def out_of_role(self, context: CallContext, namespace: str) -> bool:
        """Tells whether a namespace is the stream of a role of the caller that is not in use."""
        return self._streams.closed(base_of(namespace), context.principal.id, context.role)

    def acting(self, principal: str, namespace: str) -> CallContext:
        """Returns the context of what is done in a namespace on its own, as a principal would.

        It is without roles, which may have been taken away since. Only what is done in the stream
        of a persona is done in the persona's role, for as long as the principal holds that.
        """
        bound = self._streams.of(base_of(namespace))
        if bound is None or bound.principal != principal:
            return CallContext(Principal(self.tenant, principal))
        caller = Principal(self.tenant, principal, (bound.role,))
        return CallContext(caller, role=bound.role, stream=bound.stream)

    def permit(
        self, context: CallContext, action: Action, namespace: str, now: datetime
    ) -> Predicate:
        """Returns the filter over the memories of a namespace that a call may act on.

        It is pushed into every query of every store and of the resident index; `Nothing` when the
        call may act on none. It does not restrict tenant and namespace: those address the store.
        For `CREATE` it is to be evaluated on the facets of the memory to be made.

        Invariant: for facets of this namespace, `decide(…).allowed == evaluate(permit(…), facets)`.
        """
        return self._plan(context, action, namespace, now).predicate()

    def decide(
        self,
        context: CallContext,
        action: Action,
        facets: Facets,
        namespace: str,
        now: datetime,
    ) -> Decision:
        """Decides about one memory of a namespace, with the reason; refuses those of another."""
        if facets.get("namespace", namespace) != namespace:
            return Decision(False, "namespace")
        return self._plan(context, action, namespace, now).decide(facets)

    def may_administer(self, context: CallContext, namespace: str, now: datetime) -> bool:
        """Tells whether the call may administer a namespace, or with `""` the tenant's policy.

        A rule with a condition on memories does not suffice, and a denial with one does.
        """
        return self.permit(context, Action.ADMINISTER, namespace, now) == Everything()

    def may_open_private(self, context: CallContext, namespace: str, now: datetime) -> bool:
        """Tells whether the call may give others reach into private memories of a namespace.

        The owner of a private namespace may, and who administers the whole tenant.
        """
        if not self.may_administer(context, namespace, now):
            return False
        if self._namespaces.sovereign(namespace) == context.principal.id:
            return True
        return self.may_administer(context, TENANT_ITSELF, now)

    def visible_namespaces(self, context: CallContext, now: datetime) -> tuple[str, ...]:
        """Lists the namespaces whose memories the call is admitted to read, sorted.

        Namespaces of which it reads single memories by being named in them are not listed: the
        policy does not know the memories.
        """
        standing = self._credentials.standing(context, Action.READ, now)
        names = {context.principal.id}
        for subject in standing.subjects:
            names |= self._namespaces.joined(subject)
            names |= self._index.granted.get(subject, frozenset())
            for rule in self._index.allow[Action.READ].get(subject, ()):
                names |= rule.names.exact
                if rule.names.wild:
                    names.update(self._namespaces.names)
                if rule.names.wild_in_homes:
                    names.update(self._credentials.principals)
        return tuple(sorted(name for name in names if self._admits(standing, context, name, now)))

    def require(
        self,
        context: CallContext,
        action: Action,
        facets: Facets | None,
        namespace: str,
        now: datetime,
    ) -> Decision:
        """Decides about one memory and raises unless it is allowed.

        Args:
            facets: nothing when there is no such memory.

        Raises:
            NotFoundError: absent, or hidden from this caller; the two read the same.
            PermissionDeniedError: the caller may read it, but not do this.
        """
        if facets is None:
            raise no_memory()
        decision = self.decide(context, action, facets, namespace, now)
        if decision.allowed:
            return decision
        if action is Action.CREATE:
            self.require_namespace(context, Action.CREATE, namespace, now)
        elif not self.decide(context, Action.READ, facets, namespace, now).allowed:
            raise no_memory()
        raise PermissionDeniedError("this memory may not be used so", action=action.value)

    def require_namespace(
        self, context: CallContext, action: Action, namespace: str, now: datetime
    ) -> Predicate:
        """Returns `permit`, or raises when the call can act on nothing in the namespace.

        Raises:
            NotFoundError: absent, or the caller is not admitted; the two read the same.
            PermissionDeniedError: the caller is admitted to read, but not to do this.
        """
        predicate = self.permit(context, action, namespace, now)
        if predicate != Nothing():
            return predicate
        standing = self._credentials.standing(context, Action.READ, now)
        if self._admits(standing, context, namespace, now):
            raise PermissionDeniedError(
                "this namespace may not be used so", action=action.value, namespace=namespace
            )
        raise no_namespace(namespace)

    def _plan_anew(
        self, context: CallContext, action: Action, namespace: str, now: datetime
    ) -> Plan:
        standing = self._credentials.standing(context, action, now)
        return self._plan_as(standing, context, action, namespace, now)

    def _plan_as(
        self,
        standing: Standing,
        context: CallContext,
        action: Action,
        namespace: str,
        now: datetime,
    ) -> Plan:
        if standing.refusal:
            return Plan(standing.refusal)
        # Whoever may do something in a namespace may do it in its branches, and nobody else.
        namespace = base_of(namespace)
        if namespace in _NO_MEMORIES and action is not Action.ADMINISTER:
            return Plan("no_namespace")
        if self.out_of_role(context, namespace):
            return Plan("role_in_use")
        spec = self._namespaces.get(namespace)
        if action in _WRITES and spec is not None and spec.mode is NamespaceMode.READ_ONLY:
            return Plan("read_only")
        call = Call(context.purpose, context.role, standing.application, now)
        forbid = [
            Term(found.reason, found.memories)
            for found in self._index.denials(standing.subjects, action, namespace, call)
        ]
        if action in _NOT_ON_EXPIRED:
            forbid.append(Term("expired", Between("expires_at", None, to_micros(now) + 1)))
        own: Predicate = OneOf("owner", (context.principal.id,))
        if action is Action.CREATE and self.may_administer(context, namespace, now):
            own = Everything()
        allow = list(
            self._admissions(context.principal.id, standing.subjects, action, namespace, call, own)
        )
        if action in SCOPES:
            allow.append(named(action, standing.names))
        return Plan("", tuple(forbid), tuple(allow))

    def _admissions(
        self,
        me: str,
        subjects: tuple[str, ...],
        action: Action,
        namespace: str,
        call: Call,
        own: Predicate,
    ) -> Iterator[Term]:
        if action is not Action.ADMINISTER and not self._namespaces.exists(namespace):
            return
        sovereign = self._namespaces.sovereign(namespace)
        if sovereign == me:
            yield Term("home", Everything())
            return
        spec = self._namespaces.get(namespace)
        if spec is not None and sovereign is None:
            yield from membership(spec, me, subjects, action, own)
        # Administering is not reading: it follows the pattern into homes as well.
        private = sovereign is not None and action is not Action.ADMINISTER
        for found in self._index.admissions(subjects, action, namespace, private, call):
            yield Term(found.reason, all_of(found.memories, covered(action, found, own)))

    def _admits(
        self, standing: Standing, context: CallContext, namespace: str, now: datetime
    ) -> bool:
        """Tells whether more than names in scopes lets the caller read in a namespace."""
        plan = self._plan_as(standing, context, Action.READ, namespace, now)
        if any(isinstance(term.predicate, Everything) for term in plan.forbid):
            return False
        return any(term.reason != NAMED_READER for term in plan.allow)


def no_memory() -> NotFoundError:
    """The one answer for a memory that is absent and for one that is hidden."""
    return NotFoundError("there is no such memory")


def no_namespace(name: str) -> NotFoundError:
    """The one answer for a namespace that is absent and for one that is closed to the caller."""
    return NotFoundError("there is no such namespace", namespace=name)
