"""The report on an adapter as a document for people."""

from __future__ import annotations

from memos_ray.core.chart import Scale, line_chart
from memos_ray.core.teaching.gate import GateReport

_POINTS = 120
_LEAST = 1e-4


def as_markdown(report: GateReport, plot: str = "") -> str:
    """Returns the report as Markdown.

    Args:
        plot: where the plot of the loss lies, seen from the document; without it there is none.
    """
    figures, wanted = report.figures, report.thresholds
    base, own = figures.base, figures.adapter
    rows = [
        (
            f"recall of what was taught, new wordings ({figures.recall_asked} questions)",
            f"{base.recall:.1%}",
            f"{own.recall:.1%}",
            f"at least {wanted.recall_min:.1%}, and {wanted.gain_min:.1%} more than the base",
        ),
        (
            f"answers from the prompt's memories ({figures.in_context_asked} questions)",
            f"{base.in_context:.1%}",
            f"{own.in_context:.1%}",
            f"at most {wanted.in_context_loss_max:.1%} lost",
        ),
        (
            "perplexity of those answers",
            f"{base.perplexity:.3f}",
            f"{own.perplexity:.3f}",
            f"at most {wanted.perplexity_ratio_max:.2f} times the base's",
        ),
        (
            f"other questions answered as before ({figures.absent_asked} questions)",
            "",
            f"{figures.absent_kept:.1%}",
            f"at least {wanted.absent_kept_min:.1%}",
        ),
        (
            f"facts of others answered ({figures.foreign_asked} questions)",
            "",
            str(figures.leaked),
            f"at most {wanted.leaked_max}",
        ),
    ]
    lines = [
        f"# Adapter {report.adapter[:12]}: {report.verdict.value}",
        "",
        *(f"- {reason}" for reason in report.reasons),
        *([""] if report.reasons else []),
        "| measured | base | adapter | wanted |",
        "| --- | --- | --- | --- |",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
        _made(report),
        f"Digest: `{report.adapter}`.",
    ]
    if plot:
        lines += ["", f"![Loss by step]({plot})"]
    return "\n".join(lines) + "\n"


def _made(report: GateReport) -> str:
    if not report.losses:
        return "Not trained here."
    return f"Trained in {report.train_s:.1f} s, {len(report.losses)} steps."


def loss_plot(report: GateReport) -> str:
    """Returns the loss of a training, step by step, as SVG.

    Raises:
        ValueError: there was no step.
    """
    every = max(1, -(-len(report.losses) // _POINTS))
    chosen = list(range(0, len(report.losses), every))
    # A logarithm has no place for nothing at all.
    losses = [max(report.losses[step], _LEAST) for step in chosen]
    return line_chart(
        "Loss of the training",
        "step",
        "loss",
        [step + 1 for step in chosen],
        {"loss": losses},
        x_scale=Scale.LINEAR,
    )
