"""The namespaces of a tenant, and whose they are."""

from __future__ import annotations

from collections.abc import Iterable, Set

from memos_ray.core.access.model import NamespaceKind, NamespaceSpec, home_owner, is_home


class Namespaces:
    """The namespaces that a tenant's documents name, indexed; immutable.

    A home exists without being named: its principal is its sovereign.
    """

    def __init__(self, specs: Iterable[NamespaceSpec]) -> None:
        self._specs = {spec.name: spec for spec in specs}
        self._joined: dict[str, set[str]] = {}
        for spec in self._specs.values():
            for subject in (spec.owner, *spec.members):
                self._joined.setdefault(subject, set()).add(spec.name)

    @property
    def names(self) -> Set[str]:
        """Those that are named."""
        return self._specs.keys()

    def get(self, name: str) -> NamespaceSpec | None:
        """Returns a namespace that is named."""
        return self._specs.get(name)

    def exists(self, name: str) -> bool:
        """Tells whether there is such a namespace, named or a home."""
        return name in self._specs or (is_home(name) and "/" not in name)

    def joined(self, subject: str) -> Set[str]:
        """Returns those that somebody owns or is a member of."""
        return self._joined.get(subject, frozenset())

    def sovereign(self, name: str) -> str | None:
        """Returns the one whose memories all of a private namespace are."""
        if is_home(name):
            return home_owner(name)
        spec = self._specs.get(name)
        if spec is not None and spec.kind is NamespaceKind.USER_PRIVATE:
            return spec.owner
        return None
