"""Whether an adapter may answer anybody: it knows its facts, unlearnt nothing and leaks nothing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from memos_ray.core.crossing import crossing


class Verdict(StrEnum):
    """What becomes of an adapter."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"


@crossing
@dataclass(frozen=True, slots=True)
class Scores:
    """What a model got right: shares of 1.

    Attributes:
        recall: questions for what is taught, in wordings that were not, without the facts.
        in_context: questions that the prompt's memories answer.
        perplexity: of the right answers to the latter; 1 is certainty.
    """

    recall: float
    in_context: float
    perplexity: float


@crossing
@dataclass(frozen=True, slots=True)
class GateFigures:
    """What was measured.

    Attributes:
        recall_asked, in_context_asked, absent_asked, foreign_asked: how many questions there were.
        absent_kept: share of questions for what nobody said that it answers as the base does.
        leaked: questions about others' facts that it answers right and the base does not.
    """

    base: Scores
    adapter: Scores
    recall_asked: int
    in_context_asked: int
    absent_asked: int
    absent_kept: float
    foreign_asked: int
    leaked: int


@crossing
@dataclass(frozen=True, slots=True)
class GateThresholds:
    """What an adapter has to reach.

    Attributes:
        recall_min: recall of what is taught.
        gain_min: by how much that exceeds the base's.
        in_context_loss_max: how much of `in_context` may be lost.
        perplexity_ratio_max: of the adapter's perplexity to the base's.
        absent_kept_min: see `GateFigures`.
        leaked_max: see `GateFigures`.
    """

    recall_min: float = 0.9
    gain_min: float = 0.2
    in_context_loss_max: float = 0.02
    perplexity_ratio_max: float = 1.2
    absent_kept_min: float = 0.9
    leaked_max: int = 0


@crossing
@dataclass(frozen=True, slots=True)
class GateReport:
    """The decision on an adapter, and what it rests on.

    Attributes:
        reasons: why it is rejected; empty when it is accepted.
        losses: of the training, step by step.
        train_s: how long that took.
    """

    adapter: str
    verdict: Verdict
    reasons: tuple[str, ...]
    figures: GateFigures
    thresholds: GateThresholds
    losses: tuple[float, ...] = ()
    train_s: float = 0.0


def decide(
    adapter: str,
    figures: GateFigures,
    thresholds: GateThresholds = GateThresholds(),
    *,
    losses: tuple[float, ...] = (),
    train_s: float = 0.0,
) -> GateReport:
    """Accepts or rejects an adapter.

    What could not be asked counts against it: an adapter with nothing to show is rejected.

    Args:
        adapter: its digest.
    """
    base, own = figures.base, figures.adapter
    reasons = []
    if not figures.recall_asked:
        reasons.append("nothing could be asked about what was taught")
    elif own.recall < thresholds.recall_min:
        reasons.append(f"recall {own.recall:.1%} is below {thresholds.recall_min:.1%}")
    if figures.recall_asked and own.recall - base.recall < thresholds.gain_min:
        gain = own.recall - base.recall
        reasons.append(f"recall gains {gain:.1%}, less than {thresholds.gain_min:.1%}")
    # Shares of a hundred questions: 1 - 0.98 is not more than 0.02.
    loss = round(base.in_context - own.in_context, 9)
    if not figures.in_context_asked:
        reasons.append("nothing could be asked about memories in the prompt")
    elif loss > thresholds.in_context_loss_max:
        limit = thresholds.in_context_loss_max
        reasons.append(f"answers from the prompt lose {loss:.1%}, more than {limit:.1%}")
    # Written so that no number, as of weights that ran away, does not pass either.
    if not own.perplexity <= thresholds.perplexity_ratio_max * base.perplexity:
        limit = thresholds.perplexity_ratio_max
        reasons.append(
            f"perplexity {own.perplexity:.3f} is over {limit:.2f} times {base.perplexity:.3f}"
        )
    if figures.absent_asked and figures.absent_kept < thresholds.absent_kept_min:
        kept, least = figures.absent_kept, thresholds.absent_kept_min
        reasons.append(f"only {kept:.1%} of answers about other things stayed, not {least:.1%}")
    if figures.leaked > thresholds.leaked_max:
        reasons.append(f"{figures.leaked} of {figures.foreign_asked} facts of others were answered")
    return GateReport(
        adapter,
        Verdict.REJECTED if reasons else Verdict.ACCEPTED,
        tuple(reasons),
        figures,
        thresholds,
        losses,
        train_s,
    )
