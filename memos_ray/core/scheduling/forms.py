"""In which form a memory serves a request best: as text, as a KV cache, or in an adapter.

Each form has a price for each use, in seconds of the model, over the time for which a memory is
likely to be used and not to change:

    text     computed in every prompt
    KV       loaded in every prompt; built once, and again behind every change
    adapter  taught once, and again behind every change; a use costs no token of the prompt

Bytes that are held cost as well, at the price of what else they could save. What the memory is
bounds the choice first: what soon expires or often changes stays text, and only what is settled and
says how to do something is worth teaching.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from memos_ray.core.cube.payload import Form

_HOUR_S = 3600.0
_MEGABYTE = 1e6


class Reason(StrEnum):
    """Why a form was taken, or could not be."""

    CHEAPEST = "cheapest"
    TIME_SENSITIVE = "time_sensitive"
    """It expires or is outdated before a cache would pay."""
    NOT_SETTLED = "not_settled"
    """It changes too often to be taught."""
    NOT_PROCEDURAL = "not_procedural"
    """It says what is, not how to do something."""
    NOT_COHERENT = "not_coherent"
    """Prompts have nothing in common that a cache could begin."""
    IRRELEVANT = "irrelevant"
    """The question is about something else: it is not worth carrying."""
    NO_ROOM = "no_room"
    """It does not fit into the window."""
    NO_ADAPTERS = "no_adapters"
    """The model takes none."""
    STAYS = "stays"
    """Another form would be cheaper, but not by enough to change."""
    NOT_MEASURED = "not_measured"
    """What forms cost here is not known yet: what is there is used."""
    NOT_CACHED = "not_cached"
    """There is no KV cache of it for this prompt."""
    NOT_LEARNT = "not_learnt"
    """The model has not learnt it as it is."""
    NOT_WANTED = "not_wanted"
    """The caller, or the kind of prompt, does without."""
    DEARER = "dearer"
    """It would cost more than it saves in this prompt."""
    REPEATED = "repeated"
    """It is in the prompt already."""


@dataclass(frozen=True, slots=True)
class FormCosts:
    """What forms cost on this machine, as measured.

    Attributes:
        prefill_token_s: seconds that a token of a prompt takes.
        kv_load_s: seconds that a use of a KV cache takes.
        kv_token_bytes: bytes of a token in a KV cache.
        teach_s: seconds that teaching one memory takes; nothing where models cannot be taught.
        held_mb_hour_s: seconds that a megabyte would save elsewhere in an hour.
        hysteresis: by how much another form must be cheaper than the one there is.
    """

    prefill_token_s: float = 7e-4
    kv_load_s: float = 5e-3
    kv_token_bytes: float = 8192.0
    teach_s: float | None = None
    held_mb_hour_s: float = 0.05
    hysteresis: float = 1.5


@dataclass(frozen=True, slots=True)
class MemoryFacts:
    """What decides of a memory.

    Attributes:
        tokens: of its text.
        uses_hour: uses an hour, such as decay leaves them.
        changes_hour: changes an hour.
        lifetime_s: seconds until it expires; nothing when it does not.
        procedural: whether it says how something is done.
        priority: how much its uses count; 1 for most.
        form: in which it is now.
    """

    tokens: int
    uses_hour: float
    changes_hour: float = 0.0
    lifetime_s: float | None = None
    procedural: bool = False
    priority: float = 1.0
    form: Form = Form.PLAINTEXT


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """What decides of a request.

    Attributes:
        coherent: whether its prompts go on from one another, or begin alike.
        similarity: of the question to the memory, from 0 to 1.
        window_tokens: room that is left in the prompt.
        absent: forms that are not there for it, and why.
    """

    coherent: bool
    similarity: float = 1.0
    window_tokens: int = 1 << 40
    absent: Mapping[Form, Reason] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FormRules:
    """Where the bounds are.

    Attributes:
        horizon_s: time over which building pays back.
        changes_most: changes an hour from which a memory is time-sensitive.
        settled_changes: changes an hour below which it is settled.
        similarity_least: of a question, below which a memory is not carried through its prompt.
    """

    horizon_s: float = 8 * _HOUR_S
    changes_most: float = 1.0
    settled_changes: float = 1 / 168
    similarity_least: float = 0.05


@dataclass(frozen=True, slots=True)
class FormDecision:
    """A form and why.

    Attributes:
        form: nothing when the memory should be left out of this prompt.
        reason: of the choice.
        refused: why each form that was out of the question was.
        costs: seconds over the horizon, of each form that was weighed.
    """

    form: Form | None
    reason: Reason
    refused: Mapping[Form, Reason] = field(default_factory=dict)
    costs: Mapping[Form, float] = field(default_factory=dict)

    def explain(self) -> str:
        """Returns the decision in a line for the log; it says nothing of what the memory says."""
        chosen = "none" if self.form is None else self.form.value
        weighed = ", ".join(f"{form.value} {cost:.3g} s" for form, cost in self.costs.items())
        refused = ", ".join(f"no {form.value}: {why.value}" for form, why in self.refused.items())
        return "; ".join(part for part in (f"{chosen}: {self.reason}", weighed, refused) if part)


def choose_form(
    memory: MemoryFacts, request: RequestFacts, costs: FormCosts, rules: FormRules | None = None
) -> FormDecision:
    """Decides in which form a memory serves a request."""
    rules = rules or FormRules()
    refused = _refused(memory, request, costs, rules)
    weighed = {
        form: cost
        for form, cost in _costs(memory, request, costs, rules).items()
        if form not in refused
    }
    if not weighed:
        return FormDecision(None, refused[Form.PLAINTEXT], refused)
    best = min(weighed, key=lambda form: weighed[form])
    now = weighed.get(memory.form)
    if now is not None and best is not memory.form and now <= costs.hysteresis * weighed[best]:
        return FormDecision(memory.form, Reason.STAYS, refused, weighed)
    only_text = best is Form.PLAINTEXT and refused.get(Form.ACTIVATION) is Reason.TIME_SENSITIVE
    reason = Reason.TIME_SENSITIVE if only_text else Reason.CHEAPEST
    return FormDecision(best, reason, refused, weighed)


def _refused(
    memory: MemoryFacts, request: RequestFacts, costs: FormCosts, rules: FormRules
) -> dict[Form, Reason]:
    refused: dict[Form, Reason] = dict(request.absent)
    short = memory.lifetime_s is not None and memory.lifetime_s < rules.horizon_s
    if short or memory.changes_hour >= rules.changes_most:
        refused[Form.ACTIVATION] = refused[Form.PARAMETER] = Reason.TIME_SENSITIVE
    elif costs.teach_s is None:
        refused.setdefault(Form.PARAMETER, Reason.NO_ADAPTERS)
    elif memory.changes_hour > rules.settled_changes:
        refused.setdefault(Form.PARAMETER, Reason.NOT_SETTLED)
    elif not memory.procedural:
        refused.setdefault(Form.PARAMETER, Reason.NOT_PROCEDURAL)
    if not request.coherent:
        refused.setdefault(Form.ACTIVATION, Reason.NOT_COHERENT)
    if memory.tokens > request.window_tokens:
        refused[Form.PLAINTEXT] = refused[Form.ACTIVATION] = Reason.NO_ROOM
    if request.similarity < rules.similarity_least:
        refused[Form.PLAINTEXT] = Reason.IRRELEVANT
        refused.setdefault(Form.ACTIVATION, Reason.IRRELEVANT)
    return refused


def _costs(
    memory: MemoryFacts, request: RequestFacts, costs: FormCosts, rules: FormRules
) -> dict[Form, float]:
    hours = rules.horizon_s / _HOUR_S
    uses = memory.uses_hour * hours * memory.priority
    builds = 1.0 + memory.changes_hour * hours
    prefill_s = memory.tokens * costs.prefill_token_s
    held_s = memory.tokens * costs.kv_token_bytes / _MEGABYTE * costs.held_mb_hour_s * hours
    there = memory.form is Form.ACTIVATION
    found = {
        # Only a question that it is similar to has it in its prompt as text.
        Form.PLAINTEXT: uses * request.similarity * prefill_s,
        Form.ACTIVATION: uses * costs.kv_load_s + (builds - there) * prefill_s + held_s,
    }
    if costs.teach_s is not None:
        taught = memory.form is Form.PARAMETER
        found[Form.PARAMETER] = (builds - taught) * costs.teach_s
    return found
