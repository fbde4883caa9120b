"""Semantic layers: which namespaces are a caller's own, shared with others, or open to all.

    layer    namespaces
    -------  -----------------------------------------------------------------------------------
    role     `<own home>/<role>`, while the call uses that role
    private  the own home and what lies in it, and `user_private` namespaces of one's own
    shared   what others share: namespaces that one is a member of or let into, others' homes
    global   `industry_shared` namespaces, and those of which everybody (`*`) is a member

Layers sort what the policy lets the caller read, and nothing else: they widen no access.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from memos_ray.core.access.context import CallContext
from memos_ray.core.access.model import ANYONE, NamespaceKind, home_owner, is_home
from memos_ray.core.access.policy import TenantPolicy
from memos_ray.core.crossing import crossing


class Layer(StrEnum):
    """How far a memory is shared, the nearest first."""

    ROLE = "role"
    PRIVATE = "private"
    SHARED = "shared"
    GLOBAL = "global"


@crossing
@dataclass(frozen=True, slots=True)
class Placed:
    """A namespace that the caller may read, in its layer."""

    namespace: str
    layer: Layer
    why: str


def layers(policy: TenantPolicy, context: CallContext, now: datetime) -> tuple[Placed, ...]:
    """Sorts the namespaces that a call is admitted to read, the nearest layer first.

    Not listed are namespaces of which it reads single memories by being named in them.
    """
    placed = [_place(policy, context, name) for name in policy.visible_namespaces(context, now)]
    order = list(Layer)
    return tuple(sorted(placed, key=lambda one: (order.index(one.layer), one.namespace)))


def _place(policy: TenantPolicy, context: CallContext, name: str) -> Placed:
    me = context.principal.id
    if is_home(name):
        if home_owner(name) != me:
            return Placed(name, Layer.SHARED, f"{home_owner(name)} lets you in")
        if context.role is not None and name == f"{me}/{context.role}":
            return Placed(name, Layer.ROLE, f"the memories of your role {context.role}")
        return Placed(name, Layer.PRIVATE, "it lies in your home" if name != me else "your home")
    spec = policy.namespace(name)
    if spec.kind is NamespaceKind.USER_PRIVATE:
        if spec.owner == me:
            return Placed(name, Layer.PRIVATE, "it is yours")
        return Placed(name, Layer.SHARED, f"{spec.owner} lets you in")
    if spec.kind is NamespaceKind.INDUSTRY_SHARED or ANYONE in spec.members:
        return Placed(name, Layer.GLOBAL, f"{spec.kind.value}, open to everybody")
    return Placed(name, Layer.SHARED, f"{spec.kind.value}, open to you")
