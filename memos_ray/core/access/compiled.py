"""A tenant's rules and grants, indexed so that a decision reads only what concerns its caller."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from memos_ray.core.access.conditions import Call, CallTest, NamePatterns, to_predicate
from memos_ray.core.access.context import Action
from memos_ray.core.access.documents import TenantDocuments
from memos_ray.core.access.model import Effect, Grant, Reach, Rule
from memos_ray.core.cube.predicate import Predicate


@dataclass(frozen=True, slots=True)
class Admission:
    """Something that lets a subject act in a namespace, with the memories that it covers."""

    reason: str
    reach: Reach
    memories: Predicate


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule that is ready to decide."""

    admission: Admission
    names: NamePatterns
    when: CallTest | None
    unless: CallTest | None

    def applies(self, call: Call) -> bool:
        """Tells whether the call is one that the rule speaks of."""
        if self.when is not None and not self.when.holds(call):
            return False
        return self.unless is None or not self.unless.holds(call)


@dataclass(frozen=True, slots=True)
class CompiledGrant:
    """A grant that is ready to decide."""

    admission: Admission
    actions: tuple[Action, ...]
    expires_at: datetime | None


RuleIndex = Mapping[Action, Mapping[str, tuple[CompiledRule, ...]]]
GrantIndex = Mapping[tuple[str, str], tuple[CompiledGrant, ...]]


@dataclass(frozen=True, slots=True)
class Index:
    """Rules by action and subject, grants by (subject, namespace).

    Complexity: a question about `s` subjects costs O(s + the rules of these subjects for the action
    + their grants in the namespace), whatever else the tenant holds.
    """

    allow: RuleIndex
    deny: RuleIndex
    grants: GrantIndex
    granted: Mapping[str, frozenset[str]]

    def denials(
        self, subjects: tuple[str, ...], action: Action, namespace: str, call: Call
    ) -> Iterator[Admission]:
        """Yields what forbids: denials match private namespaces as any other."""
        rules = self.deny[action]
        for subject in subjects if rules else ():
            for rule in rules.get(subject, ()):
                if rule.names.match(namespace, private=False) and rule.applies(call):
                    yield rule.admission

    def admissions(
        self,
        subjects: tuple[str, ...],
        action: Action,
        namespace: str,
        private: bool,
        call: Call,
    ) -> Iterator[Admission]:
        """Yields what rules and grants allow."""
        rules = self.allow[action]
        for subject in subjects:
            for grant in self.grants.get((subject, namespace), ()):
                if action in grant.actions and not _over(grant.expires_at, call.now):
                    yield grant.admission
            for rule in rules.get(subject, ()):
                if rule.names.match(namespace, private) and rule.applies(call):
                    yield rule.admission


def build(documents: TenantDocuments) -> Index:
    """Compiles a tenant's rules, roles and grants.

    Raises:
        InvalidInputError: for a time zone that this machine does not know.
    """
    allow: dict[Action, dict[str, list[CompiledRule]]] = {action: {} for action in Action}
    deny: dict[Action, dict[str, list[CompiledRule]]] = {action: {} for action in Action}
    for rule in rules_of(documents):
        compiled = _compile_rule(rule)
        chosen = deny if rule.effect is Effect.DENY else allow
        for subject in dict.fromkeys(rule.subjects):
            for action in dict.fromkeys(rule.actions):
                chosen[action].setdefault(subject, []).append(compiled)
    grants: dict[tuple[str, str], list[CompiledGrant]] = defaultdict(list)
    granted: dict[str, set[str]] = defaultdict(set)
    for grant in documents.grants:
        grants[grant.subject, grant.namespace].append(_compile_grant(grant))
        granted[grant.subject].add(grant.namespace)
    return Index(
        _sealed(allow),
        _sealed(deny),
        {key: tuple(found) for key, found in grants.items()},
        {subject: frozenset(names) for subject, names in granted.items()},
    )


def rules_of(documents: TenantDocuments) -> Iterator[Rule]:
    """Yields every rule with its subjects filled in; those of a role are `<role>/<id>`."""
    yield from documents.rules
    for role in documents.roles:
        for rule in role.rules:
            yield replace(rule, id=f"{role.name}/{rule.id}", subjects=(f"role:{role.name}",))


def _sealed(rules: Mapping[Action, Mapping[str, list[CompiledRule]]]) -> RuleIndex:
    return {
        action: {subject: tuple(found) for subject, found in of_action.items()}
        for action, of_action in rules.items()
    }


def _compile_rule(rule: Rule) -> CompiledRule:
    prefix = "deny" if rule.effect is Effect.DENY else "rule"
    return CompiledRule(
        Admission(f"{prefix}:{rule.id}", rule.reach, to_predicate(rule.memories)),
        NamePatterns.of(rule.namespaces),
        CallTest.of(rule.when),
        None if rule.unless is None else CallTest.of(rule.unless),
    )


def _compile_grant(grant: Grant) -> CompiledGrant:
    return CompiledGrant(
        Admission(f"grant:{grant.id}", grant.reach, to_predicate(grant.memories)),
        grant.actions,
        grant.expires_at,
    )


def _over(expires_at: datetime | None, now: datetime) -> bool:
    return expires_at is not None and expires_at <= now
