"""What a policy says about one call: a plan of reasons, one predicate, one decision.

A plan lists every term that bears on a call. `Plan.predicate` folds it into the filter for stores;
`Plan.decide` walks it for one memory and names the reason. Both read the same terms, with the
combining of XACML 3.0's *deny-overrides* (appendix C.2) on top of *deny-unless-permit* (C.6).
"""

from __future__ import annotations

from dataclasses import dataclass

from memos_ray.core.cube.facets import Facets
from memos_ray.core.cube.predicate import (
    Everything,
    Not,
    Nothing,
    Predicate,
    all_of,
    any_of,
    evaluate,
)


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer for one memory.

    Attributes:
        reason: what decided: `home`, `member`, `grant:<id>`, `rule:<id>`, `reader`, `writer`,
            `sharer`; for refusals `deny:<id>`, `expired`, `no_rule`, `tenant`, `principal`,
            `credential`, `scope`, `role`, `read_only`, `no_namespace`, `namespace`,
            `role_in_use`.
            For logs: a refused caller must not see it, for it may tell that a memory exists.
    """

    allowed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Term:
    """A predicate, and the reason to give when it holds."""

    reason: str
    predicate: Predicate


@dataclass(frozen=True, slots=True)
class Plan:
    """Every term that bears on one principal's one action in one namespace at one moment.

    Attributes:
        refusal: why nothing at all is allowed; empty when the terms decide.
        forbid: terms of which none may hold.
        allow: terms of which one must hold.
    """

    refusal: str = ""
    forbid: tuple[Term, ...] = ()
    allow: tuple[Term, ...] = ()

    def predicate(self) -> Predicate:
        """Returns the filter that holds for exactly the memories that `decide` allows."""
        if self.refusal or not self.allow:
            return Nothing()
        allowed = any_of(*(term.predicate for term in self.allow))
        if not self.forbid:
            return allowed
        forbidden = any_of(*(term.predicate for term in self.forbid))
        if isinstance(forbidden, Everything):
            return Nothing()
        return all_of(allowed, Not(forbidden))

    def decide(self, facets: Facets) -> Decision:
        """Decides for one memory."""
        if self.refusal:
            return Decision(False, self.refusal)
        for term in self.forbid:
            if evaluate(term.predicate, facets):
                return Decision(False, term.reason)
        for term in self.allow:
            if evaluate(term.predicate, facets):
                return Decision(True, term.reason)
        return Decision(False, "no_rule")
