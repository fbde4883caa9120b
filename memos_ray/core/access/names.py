"""How tenants, principals, roles and namespaces may be called.

Names are part of keys, of audit entries and of file paths, so that the character sets are narrow.
"""

from __future__ import annotations

import re

from memos_ray.core.access.model import ANYONE, CLUSTER

WORD = r"[A-Za-z0-9][A-Za-z0-9._-]{0,126}"
"""Pattern of role, rule, issuer and grant names, and of the parts of a namespace."""

PRINCIPAL = r"(?:user|agent|service):[A-Za-z0-9][A-Za-z0-9._@+|~-]{0,126}"
"""Pattern of principal ids."""

SUBJECT = rf"(?:{PRINCIPAL}|role:{WORD})"
"""Pattern of what the scopes of a memory may name: principals and roles."""

NAMESPACE = rf"(?:{PRINCIPAL}|{WORD})(?:/{WORD}){{0,4}}"
"""Pattern of namespace names, which have at most `NAMESPACE_MAX` characters."""

NAMESPACE_MAX = 255

BRANCH_MARK = "#"
"""Stands in the names under which a branch stores its memories; no caller may use it."""

_TENANT = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_PRINCIPAL = re.compile(PRINCIPAL)
_WORD = re.compile(WORD)
_NAMESPACE = re.compile(NAMESPACE)
_PATTERN = re.compile(r"[A-Za-z0-9._@+|~:/*-]{1,512}")


def base_of(name: str) -> str:
    """Returns the namespace, or the id, that one of a branch stands for; others are themselves."""
    return name.partition(BRANCH_MARK)[0]


def is_tenant_name(name: str) -> bool:
    """Lower-case letters, digits and inner hyphens, 1 to 63: a DNS label, without `_`."""
    return _TENANT.fullmatch(name) is not None


def is_principal_id(name: str) -> bool:
    """`user:`, `agent:` or `service:` and 1 to 127 characters without `/`."""
    return _PRINCIPAL.fullmatch(name) is not None


def is_word(name: str) -> bool:
    """A role, rule, issuer or grant name: letters, digits, `.`, `_`, `-`; 1 to 127."""
    return _WORD.fullmatch(name) is not None


def is_subject(name: str) -> bool:
    """A principal id, `role:` and a role name, or `*`."""
    if name == ANYONE or is_principal_id(name):
        return True
    return name.startswith("role:") and is_word(name.removeprefix("role:"))


def is_namespace_name(name: str) -> bool:
    """One to five words joined by `/`, at most 255; the first may be a principal, for a home."""
    return len(name) <= NAMESPACE_MAX and _NAMESPACE.fullmatch(name) is not None


def is_namespace_pattern(pattern: str) -> bool:
    """A namespace name in which `*` stands for any characters, or `@cluster`."""
    return pattern == CLUSTER or _PATTERN.fullmatch(pattern) is not None
