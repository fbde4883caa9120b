"""Personas: the roles of one principal, each with a memory stream of its own (APP-4).

A persona binds a namespace below its principal's home, the *stream*, to a role: the principal
reaches it only in calls that use this role. What all personas of a principal share lies in other
namespaces, mostly in the home itself. A persona gives nobody any right that the role does not give.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Persona:
    """One role of one principal.

    Attributes:
        role: the role in use by which calls speak as this persona.
        stream: where it remembers; never changes, also not when the persona is retired.
        shared: further namespaces that its searches and conversations look at.
        purpose: of calls that state none.
        preface: stands before its conversations.
        tags: that memories of the stream get.
        half_life_s: after which memories of the stream lose half of their heat, unless they say
            otherwise.
        retired: whether it is not to be used any more; its stream stays bound to the role.
    """

    principal: str
    name: str
    role: str
    stream: str
    shared: tuple[str, ...] = ()
    purpose: str | None = None
    preface: str = ""
    tags: tuple[str, ...] = ()
    half_life_s: float | None = None
    description: str = ""
    retired: bool = False

    @property
    def key(self) -> str:
        """What it is stored under."""
        return f"{self.principal}/{self.name}"


@dataclass(frozen=True, slots=True)
class Space:
    """A namespace that is made with a persona, unless it is there; then it stays as it is.

    Attributes:
        members: subjects who read what is shared in it, and remember there, too; none of a private
            one.
    """

    name: str
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PutPersona:
    """Makes a persona, or changes all of it but its stream; a retired one comes back.

    Attributes:
        creates: further namespaces; all are made with the persona, or nothing is.
    """

    persona: Persona
    creates: tuple[Space, ...] = ()


@dataclass(frozen=True, slots=True)
class RetirePersona:
    """Ends the use of a persona. Its stream stays closed to the other roles of its principal."""

    principal: str
    name: str


PersonaOperation = PutPersona | RetirePersona


class Streams:
    """The streams of a tenant's personas, indexed. Look-ups cost the depth of a name."""

    def __init__(self, personas: tuple[Persona, ...]) -> None:
        self._by_stream = {one.stream: one for one in personas}
        self._in_use = {(one.principal, one.role): one for one in personas if not one.retired}

    def of(self, namespace: str) -> Persona | None:
        """Returns the persona whose stream a namespace is, or lies in."""
        if not self._by_stream:
            return None
        name = namespace
        while name:
            found = self._by_stream.get(name)
            if found is not None:
                return found
            name = name.rpartition("/")[0]
        return None

    def closed(self, namespace: str, principal: str, role: str | None) -> bool:
        """Tells whether a namespace is the stream of another role of the principal."""
        found = self.of(namespace)
        return found is not None and found.principal == principal and found.role != role

    def in_use(self, principal: str, role: str | None) -> Persona | None:
        """Returns the persona that a principal speaks as when it uses a role."""
        return None if role is None else self._in_use.get((principal, role))
