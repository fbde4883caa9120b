"""The access model once more, as slow and plain as it can be said: what the policy is tested by.

It reads the documents and one memory directly; no index, no predicate, nothing of the real thing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from zoneinfo import ZoneInfo

from memos_ray.core.access.context import Action, CallContext
from memos_ray.core.access.documents import TenantDocuments
from memos_ray.core.access.model import (
    Circumstances,
    Effect,
    MemoryCondition,
    NamespaceKind,
    NamespaceMode,
    NamespaceSpec,
    Reach,
    Rule,
    TimeWindow,
)
from memos_ray.core.cube.facets import Facets, from_micros

_PREFIXES = ("user:", "agent:", "service:")
_HOUR = timedelta(hours=1)


def allowed(
    documents: TenantDocuments,
    context: CallContext,
    action: Action,
    facets: Facets,
    namespace: str,
    now: datetime,
) -> bool:
    """Decides as the table in `memos_ray.core.access.policy` says."""
    who = _subjects(documents, context, action, now)
    if not who:
        return False
    me = context.principal.id
    call = replace(context, application=_application(documents, context))
    rules = [rule for rule in _rules(documents) if action in rule.actions]
    rules = [rule for rule in rules if {*rule.subjects} & {*who, "*"} and _applies(rule, call, now)]
    for rule in rules:
        if rule.effect is Effect.DENY and _named(rule.namespaces, namespace, False):
            if _holds(rule.memories, facets):
                return False
    spec = next((each for each in documents.namespaces if each.name == namespace), None)
    if action in (Action.READ, Action.UPDATE, Action.SHARE):
        expires = facets.get("expires_at")
        if isinstance(expires, int) and from_micros(expires) <= now:
            return False
    writes = action not in (Action.READ, Action.ADMINISTER)
    if writes and spec is not None and spec.mode is NamespaceMode.READ_ONLY:
        return False
    if _by_name(action, facets, who):
        return True
    exists = spec is not None or (namespace.startswith(_PREFIXES) and "/" not in namespace)
    if not exists and action is not Action.ADMINISTER:
        return False
    master = _master(spec, namespace)
    if master == me:
        return True
    own = facets.get("owner") == me
    if action is Action.CREATE:
        own = own or _may_administer(documents, context, namespace, now)
    if master is None and spec is not None and _member(spec, me, who, action):
        if own or action is Action.ADMINISTER:
            return True
        if action is Action.READ and facets["visibility"] != "private":
            return True
    private = master is not None and action is not Action.ADMINISTER
    for rule in rules:
        if rule.effect is Effect.ALLOW and _named(rule.namespaces, namespace, private):
            if _holds(rule.memories, facets) and _covers(action, rule.reach, own, facets):
                return True
    for grant in documents.grants:
        over = grant.expires_at is not None and grant.expires_at <= now
        if grant.subject in (*who, "*") and grant.namespace == namespace and not over:
            if action in grant.actions and _holds(grant.memories, facets):
                if _covers(action, grant.reach, own, facets):
                    return True
    return False


def _subjects(
    documents: TenantDocuments, context: CallContext, action: Action, now: datetime
) -> tuple[str, ...]:
    caller = context.principal
    record = next((each for each in documents.principals if each.id == caller.id), None)
    if caller.tenant != documents.tenant.id or documents.tenant.disabled:
        return ()
    if record is None or record.disabled:
        return ()
    if caller.credential:
        key = next((k for k in documents.keys if f"key:{k.id}" == caller.credential), None)
        if key is None or key.principal != caller.id or key.revoked:
            return ()
        if key.not_before is not None and now < key.not_before:
            return ()
        if key.expires_at is not None and now >= key.expires_at:
            return ()
        if key.scopes and action not in key.scopes:
            return ()
    if caller.scopes and action not in caller.scopes:
        return ()
    roles = [role for role in caller.roles if role in record.roles]
    if context.role is not None:
        if context.role not in roles:
            return ()
        roles = [context.role]
    return (caller.id, *(f"role:{role}" for role in roles))


def _application(documents: TenantDocuments, context: CallContext) -> str | None:
    for key in documents.keys:
        if f"key:{key.id}" == context.principal.credential and key.application is not None:
            return key.application
    return context.application


def _rules(documents: TenantDocuments) -> Iterator[Rule]:
    yield from documents.rules
    for role in documents.roles:
        for rule in role.rules:
            yield replace(rule, subjects=(f"role:{role.name}",))


def _applies(rule: Rule, context: CallContext, now: datetime) -> bool:
    if not _meets(rule.when, context, now):
        return False
    return rule.unless is None or not _meets(rule.unless, context, now)


def _meets(wanted: Circumstances, context: CallContext, now: datetime) -> bool:
    lists = (
        (wanted.purposes, context.purpose),
        (wanted.roles, context.role),
        (wanted.applications, context.application),
    )
    if any(names and found not in names for names, found in lists):
        return False
    if wanted.not_before is not None and now < wanted.not_before:
        return False
    if wanted.not_after is not None and now >= wanted.not_after:
        return False
    return not wanted.windows or any(_open(window, now) for window in wanted.windows)


def _open(window: TimeWindow, now: datetime) -> bool:
    """Looks back hour by hour for the opening that this moment lies in.

    Knows only windows that open and close on the hour.
    """
    local = now.astimezone(ZoneInfo(window.tz))
    local = local.replace(tzinfo=None, minute=0, second=0, microsecond=0)
    days = window.weekdays or (1, 2, 3, 4, 5, 6, 7)
    for _ in range(24):
        if local.time() == window.start and local.isoweekday() in days:
            return True
        if local.time() == window.end:
            return False
        local -= _HOUR
    return False


def _named(patterns: tuple[str, ...], namespace: str, private: bool) -> bool:
    for pattern in patterns:
        if pattern == namespace:
            return True
        spelled = pattern.startswith(_PREFIXES)
        if "*" in pattern and (spelled or not private) and not namespace.startswith("@"):
            if fnmatchcase(namespace, pattern):
                return True
    return False


def _values(facets: Facets, name: str) -> set[str]:
    value = facets.get(name, ())
    return set(value) if isinstance(value, tuple) else {str(value)}


def _holds(condition: MemoryCondition, facets: Facets) -> bool:
    wanted: tuple[tuple[str, set[str]], ...] = (
        ("semantic_type", {str(kind) for kind in condition.semantic_types}),
        ("form", {str(form) for form in condition.forms}),
        ("tags", set(condition.tags)),
        ("sensitivity", set(condition.sensitivity)),
        ("owner", set(condition.owners)),
    )
    unwanted = (
        ("tags", set(condition.without_tags)),
        ("sensitivity", set(condition.without_sensitivity)),
    )
    present = all(not names or names & _values(facets, field) for field, names in wanted)
    return present and not any(names & _values(facets, field) for field, names in unwanted)


def _by_name(action: Action, facets: Facets, who: tuple[str, ...]) -> bool:
    if action is Action.READ:
        return bool({*who} & _values(facets, "readers"))
    if facets.get("visibility") == "read_only":
        return False
    scope = {Action.UPDATE: "writers", Action.SHARE: "sharers"}.get(action)
    return scope is not None and bool({*who} & _values(facets, scope))


def _master(spec: NamespaceSpec | None, namespace: str) -> str | None:
    if namespace.startswith(_PREFIXES):
        return namespace.split("/")[0]
    if spec is not None and spec.kind is NamespaceKind.USER_PRIVATE:
        return spec.owner
    return None


def _member(spec: NamespaceSpec, me: str, who: tuple[str, ...], action: Action) -> bool:
    if spec.owner == me:
        return True
    return action is not Action.ADMINISTER and bool({*who, "*"} & {*spec.members})


def _may_administer(
    documents: TenantDocuments, context: CallContext, namespace: str, now: datetime
) -> bool:
    """Tells whether every imaginable memory of the namespace may be administered."""
    plain = replace(
        documents,
        rules=tuple(_blunt(rule) for rule in documents.rules),
        roles=tuple(
            replace(role, rules=tuple(_blunt(rule) for rule in role.rules))
            for role in documents.roles
        ),
        grants=tuple(g for g in documents.grants if g.memories == MemoryCondition()),
    )
    return allowed(plain, context, Action.ADMINISTER, {}, namespace, now)


def _blunt(rule: Rule) -> Rule:
    """Makes a conditional denial count always and a conditional permission never."""
    if rule.memories == MemoryCondition():
        return rule
    if rule.effect is Effect.DENY:
        return replace(rule, memories=MemoryCondition())
    return replace(rule, actions=())


def _covers(action: Action, reach: Reach, own: bool, facets: Facets) -> bool:
    if action is Action.ADMINISTER:
        return True
    if own or action is Action.CREATE:
        return own
    visibility = facets["visibility"]
    if action is Action.READ:
        return visibility != "private" or reach is Reach.PRIVATE
    if visibility == "read_only":
        return False
    return visibility == "shared" or reach is Reach.PRIVATE
