"""Which of the forms that are there a prompt takes, by what they have cost until the first word.

A prompt is for the base or for an adapter. With an adapter what it has learnt is left out; the KV
caches of the base, of a conversation above all, do not fit it and are computed as text. So both
prompts are reckoned in seconds, and the adapter is let go of where it would be the dearer one by
far. A KV cache stands for the same tokens as its text; it is left where it lies when bringing it
takes longer than computing them.

Until enough prompts have been answered to know what tokens cost, what is there is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from memos_ray.core.cube.payload import Form
from memos_ray.core.scheduling.forms import (
    FormCosts,
    FormDecision,
    FormRules,
    MemoryFacts,
    Reason,
    RequestFacts,
    choose_form,
)
from memos_ray.core.scheduling.plan import Placing, PlannedMemory

_ONE_USE = FormRules(horizon_s=3600.0, changes_most=float("inf"), settled_changes=float("inf"))
_FADE = 0.99
_PROVED = 16
_SPREAD_TOKENS = 32.0


@dataclass(frozen=True, slots=True)
class TokenCosts:
    """Seconds until the first word that a token of a prompt takes, as measured.

    Attributes:
        computed_s: of one that is computed.
        loaded_s: of one that a KV cache brings; nothing while too few were brought.
    """

    computed_s: float
    loaded_s: float | None = None


class CostMeter:
    """Learns from answered prompts what tokens cost: least squares of `a + b computed + c loaded`.

    Older answers fade, so that another load of the machine is learnt. A cost is known only when
    there were sixteen answers or more, whose prompts differed, and is never negative.

    Complexity: constant; three numbers are solved for when costs are asked for.
    """

    def __init__(self) -> None:
        self._products = np.zeros((3, 3))
        self._seconds = np.zeros(3)
        self._answers = 0
        self._loads = 0

    def note(self, computed: float, loaded: float, took_s: float) -> None:
        """Counts an answer.

        Args:
            took_s: from asking the model to its first word.
        """
        row = np.array([1.0, computed, loaded])
        self._products = _FADE * self._products + np.outer(row, row)
        self._seconds = _FADE * self._seconds + took_s * row
        self._answers += 1
        self._loads += loaded > 0

    @property
    def costs(self) -> TokenCosts | None:
        """What is known; nothing before it is enough."""
        if self._answers < _PROVED or self._spread(1) < _SPREAD_TOKENS:
            return None
        loads = self._loads >= _PROVED and self._spread(2) >= _SPREAD_TOKENS
        size = 3 if loads else 2
        found, *_ = np.linalg.lstsq(self._products[:size, :size], self._seconds[:size], rcond=1e-9)
        computed_s = float(found[1])
        if computed_s <= 0.0:
            return None
        return TokenCosts(computed_s, max(float(found[2]), 0.0) if loads else None)

    def _spread(self, column: int) -> float:
        """Returns the standard deviation of a column, in tokens."""
        weight = self._products[0, 0]
        mean = self._products[0, column] / weight
        return float(np.sqrt(max(self._products[column, column] / weight - mean * mean, 0.0)))


@dataclass(frozen=True, slots=True)
class PromptSize:
    """Tokens of a prompt, about.

    Attributes:
        text: of all that it says.
        cached: of them, those that the offered KV caches stand for.
    """

    text: int
    cached: int = 0

    def seconds(self, costs: TokenCosts) -> float:
        """Returns the time until the first word that depends on the prompt."""
        loaded_s = costs.computed_s if costs.loaded_s is None else costs.loaded_s
        loaded = min(self.cached, self.text)
        return (self.text - loaded) * costs.computed_s + loaded * loaded_s


@dataclass(frozen=True, slots=True)
class PromptForms:
    """What a prompt may take.

    Attributes:
        costs: nothing while they are not known.
        cached: where a KV cache is offered.
        refused: why a form is not there for any memory.
    """

    costs: TokenCosts | None = None
    cached: frozenset[Placing] = frozenset()
    refused: Mapping[Form, Reason] = field(default_factory=dict)


def keeps_adapter(
    taught: PromptSize, base: PromptSize, costs: TokenCosts | None, hysteresis: float = 1.5
) -> bool:
    """Tells whether a prompt stays for an adapter that knows something of what was found.

    Args:
        taught: the prompt for the adapter.
        base: the one without.
        hysteresis: by how much the other must be cheaper.
    """
    return costs is None or taught.seconds(costs) <= hysteresis * base.seconds(costs)


def takes_caches(tokens: int, costs: TokenCosts | None, hysteresis: float = 1.5) -> bool:
    """Tells whether a KV cache of so many tokens is brought, and not computed."""
    if costs is None or costs.loaded_s is None:
        return True
    decision = choose_form(
        MemoryFacts(tokens, 1.0, form=Form.ACTIVATION),
        RequestFacts(coherent=True),
        _priced(tokens, costs, hysteresis),
        _ONE_USE,
    )
    return decision.form is Form.ACTIVATION


def decide(
    memories: Sequence[PlannedMemory], forms: PromptForms
) -> list[tuple[PlannedMemory, FormDecision]]:
    """Says for each memory of a prompt in which form it goes in, and why not in another."""
    return [(one, _decision(one, forms)) for one in memories]


def _decision(one: PlannedMemory, forms: PromptForms) -> FormDecision:
    if one.placing is Placing.NO_ROOM:
        return FormDecision(None, Reason.NO_ROOM)
    if one.placing is Placing.REPEATED:
        return FormDecision(None, Reason.REPEATED)
    there = Form.PLAINTEXT
    refused = {
        Form.ACTIVATION: Reason.NOT_CACHED,
        Form.PARAMETER: Reason.NOT_LEARNT,
    } | dict(forms.refused)
    if one.placing is Placing.LEARNT:
        there = Form.PARAMETER
    elif one.placing in forms.cached:
        there = Form.ACTIVATION
    refused.pop(there, None)
    if forms.costs is None:
        return FormDecision(there, Reason.NOT_MEASURED, refused)
    return choose_form(
        MemoryFacts(one.tokens, 1.0, procedural=True, form=there),
        RequestFacts(coherent=True, absent=refused),
        _priced(one.tokens, forms.costs),
        _ONE_USE,
    )


def _priced(tokens: int, costs: TokenCosts, hysteresis: float = 1.5) -> FormCosts:
    """Returns what the forms of something cost in one prompt: it is all built and held already."""
    loaded_s = costs.computed_s if costs.loaded_s is None else costs.loaded_s
    return FormCosts(
        prefill_token_s=costs.computed_s,
        kv_load_s=tokens * loaded_s,
        kv_token_bytes=0.0,
        teach_s=0.0,
        held_mb_hour_s=0.0,
        hysteresis=hysteresis,
    )
