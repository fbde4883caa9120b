"""When plaintext becomes a KV cache by itself, and when it is plaintext again.

A memory that is found for a question is computed as part of the prompt. In the part that all
prompts begin with it is computed once, but carried by every prompt, whether or not that needs it.
So, counting uses that fade with a half-life:

    gain = uses - carry * prompts

where `carry` is what an unneeded token costs, compared to computing it. It is put in when the gain
pays for building the cache several times over, and taken out when it no longer pays for itself;
in between everything stays as it is, so that caches are not built to and fro.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from memos_ray.core.crossing import crossing


@dataclass(frozen=True, slots=True)
class Candidate:
    """A memory that prompts have used.

    Attributes:
        uses: decayed number of questions that it was found for.
        tokens: of its text in a prompt.
        inside: whether it is in the cache now.
    """

    cube_id: str
    uses: float
    tokens: int
    inside: bool = False


@dataclass(frozen=True, slots=True)
class Promoting:
    """Where the thresholds are.

    Attributes:
        enter: gain, in uses, from which a memory is put in.
        leave: gain below which it is taken out.
        carry: cost of carrying a token through a prompt, as a share of computing it.
        tokens_max: most tokens of all memories together.
        tokens_min: fewest for which a cache is worth its while.
        automatic: whether that is done behind the prompts that decide it, or only proposed.
    """

    enter: float = 4.0
    leave: float = 0.5
    carry: float = 0.05
    tokens_max: int = 2048
    tokens_min: int = 64
    automatic: bool = True


@crossing
@dataclass(frozen=True, slots=True)
class Promotion:
    """What is to be in the cache, and why that differs from what is.

    Attributes:
        members: ids, the most useful first; nothing when there is to be no cache.
        entered: those that are not in it now.
        left: those that no longer pay.
        reasons: sentences.
    """

    members: tuple[str, ...]
    entered: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    reasons: tuple[str, ...] = field(default=(), compare=False)

    @property
    def changes(self) -> bool:
        """Whether another cache is to be built than there is."""
        return bool(self.entered or self.left)


def promotion(candidates: Sequence[Candidate], prompts: float, rules: Promoting) -> Promotion:
    """Decides which memories all prompts are to begin with.

    Args:
        prompts: decayed number of all prompts.

    Complexity: n log n.
    """

    def gain(one: Candidate) -> float:
        return one.uses - rules.carry * prompts

    stay = [one for one in candidates if one.inside and gain(one) >= rules.leave]
    enter = [one for one in candidates if not one.inside and gain(one) >= rules.enter]
    members: list[Candidate] = []
    room = rules.tokens_max
    # Those inside go first: one that is a little better does not push another out.
    for group in (stay, enter):
        for one in sorted(group, key=lambda one: (-one.uses * one.tokens, one.cube_id)):
            if one.tokens <= room:
                members.append(one)
                room -= one.tokens
    if sum(one.tokens for one in members) < rules.tokens_min:
        members = []
    chosen = {one.cube_id for one in members}
    inside = {one.cube_id for one in candidates if one.inside}
    return Promotion(
        tuple(one.cube_id for one in members),
        tuple(sorted(chosen - inside)),
        tuple(sorted(inside - chosen)),
        _reasons(members, len(inside - chosen), prompts, rules),
    )


def _reasons(
    members: Sequence[Candidate], left: int, prompts: float, rules: Promoting
) -> tuple[str, ...]:
    reasons = []
    if members:
        tokens, least = sum(one.tokens for one in members), min(one.uses for one in members)
        reasons.append(
            f"{len(members)} memories of {tokens} tokens, each found for at least {least:.1f} of "
            f"{prompts:.1f} prompts, which count for half after an hour"
        )
        reasons.append(
            f"carried by every prompt, each gains at least {least - rules.carry * prompts:.1f} "
            f"uses; {rules.enter:g} are asked for, and {rules.leave:g} of what is cached"
        )
    if left:
        reasons.append(f"{left} of those that are cached pay no longer")
    return tuple(reasons)
