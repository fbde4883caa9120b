"""What makes a document acceptable; checked before it is stored, so that policies compile.

A document that names a role or principal which nobody has defined is refused where the slip would
widen or break something later; a rule or grant for an unknown subject merely lets nobody in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import assert_never

from memos_ray.core.access.conditions import CallTest
from memos_ray.core.access.documents import Document, TenantDocuments, encode
from memos_ray.core.access.jwt import check_key
from memos_ray.core.access.model import (
    ApiKey,
    Circumstances,
    Effect,
    Grant,
    JwtIssuer,
    MemoryCondition,
    NamespaceKind,
    NamespaceSpec,
    PrincipalRecord,
    Reach,
    Role,
    Rule,
    Tenant,
    home_owner,
    is_home,
)
from memos_ray.core.access.names import (
    is_namespace_name,
    is_namespace_pattern,
    is_principal_id,
    is_subject,
    is_tenant_name,
    is_word,
)
from memos_ray.core.access.personas import Persona
from memos_ray.errors import InvalidInputError, NotFoundError, PayloadTooLargeError

LARGEST_DOCUMENT_BYTES = 65_536
_LONGEST_WORD = 256
_LONGEST_LEEWAY_S = 300
_LONGEST_PREFACE = 8192
_LONGEST_SPAN_S = 100 * 366 * 86_400.0
_MOST_SHARED = 16


def check(document: Document, documents: TenantDocuments) -> None:
    """Verifies a document against its own shape and against the tenant's other documents.

    Raises:
        InvalidInputError: what is wrong, and with which field.
        NotFoundError: it names a principal or role that does not exist.
        PayloadTooLargeError: over 64 KiB as JSON.
    """
    match document:
        case Tenant(id=name):
            _demand(is_tenant_name(name), "tenant", name)
        case PrincipalRecord():
            _demand(is_principal_id(document.id), "principal", document.id)
            _check_roles_exist(document.roles, documents)
        case Role():
            _check_role(document)
        case Rule():
            _check_rule(document)
            _demand(bool(document.subjects), "subjects", "none")
        case Grant():
            _check_grant(document)
        case ApiKey():
            _check_key(document, documents)
        case NamespaceSpec():
            _check_namespace(document, documents)
        case JwtIssuer():
            _check_issuer(document, documents)
        case Persona():
            _check_persona(document, documents)
        case _ as never:
            assert_never(never)
    try:
        size = len(encode(document))
    except TypeError:
        raise InvalidInputError("a field holds what UTF-8 cannot carry") from None
    if size > LARGEST_DOCUMENT_BYTES:
        raise PayloadTooLargeError(
            "the document is too large", size_bytes=size, limit_bytes=LARGEST_DOCUMENT_BYTES
        )


def mentions_of(role: str, documents: TenantDocuments) -> list[str]:
    """Names what would regain a meaning if a role were removed and made again."""
    subject = f"role:{role}"
    found = [record.id for record in documents.principals if role in record.roles]
    found += [f"rule {rule.id}" for rule in documents.rules if subject in rule.subjects]
    found += [f"grant {grant.id}" for grant in documents.grants if grant.subject == subject]
    found += [spec.name for spec in documents.namespaces if subject in spec.members]
    found += [f"persona {one.key}" for one in documents.personas if one.role == role]
    return found


def _check_role(role: Role) -> None:
    _demand(is_word(role.name), "role", role.name)
    names = [rule.id for rule in role.rules]
    _demand(len(set(names)) == len(names), "rules", "two of one id")
    for rule in role.rules:
        _check_rule(rule)
        _demand(not rule.subjects, "subjects", "a rule of a role has none")


def _check_rule(rule: Rule) -> None:
    _demand(is_word(rule.id), "id", rule.id)
    _demand(bool(rule.actions), "actions", "none")
    _demand(bool(rule.namespaces), "namespaces", "none")
    _check_each(rule.namespaces, is_namespace_pattern, "namespaces")
    _check_each(rule.subjects, is_subject, "subjects")
    _check_condition(rule.memories)
    _check_circumstances(rule.when, "when")
    if rule.unless is not None:
        # An empty exception would silence the rule for every call.
        _demand(rule.unless != Circumstances(), "unless", "empty")
        _check_circumstances(rule.unless, "unless")
    _demand(
        rule.effect is Effect.ALLOW or rule.reach is Reach.SHARED,
        "reach",
        "denials cover all memories",
    )


def _check_grant(grant: Grant) -> None:
    _demand(is_word(grant.id), "id", grant.id)
    _demand(is_subject(grant.subject), "subject", grant.subject)
    _demand(bool(grant.actions), "actions", "none")
    _demand(is_namespace_name(grant.namespace), "namespace", grant.namespace)
    _demand(is_principal_id(grant.granted_by), "granted_by", grant.granted_by)
    _check_condition(grant.memories)
    _check_moments("expires_at", grant.expires_at)


def _check_key(key: ApiKey, documents: TenantDocuments) -> None:
    if all(record.id != key.principal for record in documents.principals):
        raise NotFoundError("there is no such principal", principal=key.principal)
    if key.application is not None:
        _check_words((key.application,), "application")
    _check_moments("created_at", key.created_at)
    _check_moments("not_before", key.not_before)
    _check_moments("expires_at", key.expires_at)


def _check_namespace(spec: NamespaceSpec, documents: TenantDocuments) -> None:
    _demand(is_namespace_name(spec.name), "name", spec.name)
    _demand(is_principal_id(spec.owner), "owner", spec.owner)
    _check_each(spec.members, is_subject, "members")
    private = spec.kind is NamespaceKind.USER_PRIVATE
    if is_home(spec.name):
        _demand(private, "kind", "a home is private")
        _demand(spec.owner == home_owner(spec.name), "owner", "a home is its principal's")
    if private:
        _demand(not spec.members, "members", "a private namespace is opened by grants")
    _demand(spec.quota_bytes is None or spec.quota_bytes >= 0, "quota_bytes", "negative")
    parts = spec.path.split("/")
    _demand(
        len(spec.path) <= 1024 and ".." not in parts and not spec.path.startswith("/"),
        "path",
        "not a relative path",
    )
    _demand("\0" not in spec.path and "\\" not in spec.path, "path", "not a relative path")
    # Archives of two namespaces must never fall into one folder.
    taken = {other.path for other in documents.namespaces if other.name != spec.name}
    _demand(not spec.path or spec.path not in taken, "path", "taken by another namespace")


def _check_issuer(issuer: JwtIssuer, documents: TenantDocuments) -> None:
    _demand(is_word(issuer.id), "id", issuer.id)
    _demand(0 < len(issuer.issuer) <= 512, "issuer", "empty or too long")
    _demand(0 < len(issuer.audience) <= 512, "audience", "empty or too long")
    _demand(bool(issuer.keys), "keys", "none")
    names = [key.id for key in issuer.keys]
    _demand(len(set(names)) == len(names), "keys", "two of one id")
    for key in issuer.keys:
        check_key(key)
    _demand(bool(issuer.subject_claim), "subject_claim", "empty")
    _demand(is_principal_id(issuer.principal("x")), "subject_prefix", issuer.principal(""))
    _demand(0 <= issuer.leeway_s <= _LONGEST_LEEWAY_S, "leeway_s", "out of range")
    _check_roles_exist(issuer.assertable_roles, documents)
    for other in documents.issuers:
        same = (other.issuer, other.audience) == (issuer.issuer, issuer.audience)
        _demand(other.id == issuer.id or not same, "audience", "taken by another issuer document")


def _check_persona(persona: Persona, documents: TenantDocuments) -> None:
    _demand(is_principal_id(persona.principal), "principal", persona.principal)
    _demand(is_word(persona.name), "name", persona.name)
    _check_roles_exist((persona.role,), documents)
    _demand(is_namespace_name(persona.stream), "stream", persona.stream)
    below = persona.stream.startswith(f"{persona.principal}/")
    _demand(below, "stream", "not below the principal's home")
    _check_each(persona.shared, is_namespace_name, "shared")
    _demand(len(persona.shared) <= _MOST_SHARED, "shared", "too many")
    _check_words(persona.tags, "tags")
    if persona.purpose is not None:
        _check_words((persona.purpose,), "purpose")
    _demand(len(persona.preface) <= _LONGEST_PREFACE, "preface", "too long")
    _demand(len(persona.description) <= _LONGEST_PREFACE, "description", "too long")
    span_s = persona.half_life_s
    _demand(span_s is None or 0 < span_s < _LONGEST_SPAN_S, "half_life_s", "out of range")


def _check_circumstances(circumstances: Circumstances, field: str) -> None:
    for words in (circumstances.purposes, circumstances.applications, circumstances.roles):
        _check_words(words, field)
    for window in circumstances.windows:
        _demand(all(1 <= day <= 7 for day in window.weekdays), field, "a weekday is 1 to 7")
        naive = window.start.tzinfo is None and window.end.tzinfo is None
        _demand(naive, field, "a window's times are local")
    _check_moments(field, circumstances.not_before)
    _check_moments(field, circumstances.not_after)
    CallTest.of(circumstances)


def _check_condition(condition: MemoryCondition) -> None:
    _check_each(condition.owners, is_principal_id, "memories")
    for words in (
        condition.tags,
        condition.without_tags,
        condition.sensitivity,
        condition.without_sensitivity,
    ):
        _check_words(words, "memories")


def _check_roles_exist(names: Iterable[str], documents: TenantDocuments) -> None:
    known = {role.name for role in documents.roles}
    for name in names:
        if name not in known:
            raise NotFoundError("there is no such role", role=name[:_LONGEST_WORD])


def _check_words(words: Iterable[str], field: str) -> None:
    for word in words:
        fits = 0 < len(word) <= _LONGEST_WORD and "\0" not in word
        _demand(fits, field, "an empty or too long word")


def _check_each(names: Iterable[str], good: Callable[[str], bool], field: str) -> None:
    for name in names:
        _demand(good(name), field, name)


def _check_moments(field: str, moment: datetime | None) -> None:
    aware = moment is None or moment.utcoffset() is not None
    _demand(aware, field, "a time without a zone")


def _demand(holds: bool, field: str, found: str) -> None:
    if not holds:
        raise InvalidInputError(
            "a field is not acceptable", field=field, found=found[:_LONGEST_WORD]
        )
