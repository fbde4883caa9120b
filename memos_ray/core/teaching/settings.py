"""How an adapter is trained."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from hashlib import blake2b

import orjson

from memos_ray.core.teaching.lessons import LessonMix
from memos_ray.errors import InvalidInputError

LINEAR_LAYERS = (
    *("q_proj", "k_proj", "v_proj", "o_proj"),
    *("gate_proj", "up_proj", "down_proj"),
)
"""The linear layers of Llama, Qwen and their like."""


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """Settings of one training.

    Attributes:
        rank: of the adapter; what engines take at most is a setting of theirs.
        alpha: the product of B and A is scaled by alpha / rank.
        targets: last parts of the names of the layers that it changes.
        learning_rate: the highest; it rises over the first twentieth of the steps, and falls to
            nothing along a cosine.
        passes: how often each thing is taught.
        steps_min: steps there are at least, however little is taught.
        mix: what a batch is made of.
        answer_tokens: longest answer of the base model that is kept.
        prompt_tokens: longest prompt and answer together; longer lessons are left out.
        seed: of all chance.
        device: of torch: `cpu`, `cuda`.
        threads: of torch, on CPUs. It changes how sums are rounded, and so the weights.
        workers: how many share the training. Each adds up its own part of a batch: this, too,
            changes how sums are rounded.
        time_limit_s: how long the training may take.
        checkpoint_steps: steps between two checkpoints.
    """

    rank: int = 16
    alpha: float = 32.0
    targets: tuple[str, ...] = LINEAR_LAYERS
    learning_rate: float = 2e-4
    passes: int = 40
    steps_min: int = 60
    mix: LessonMix = field(default_factory=LessonMix)
    answer_tokens: int = 24
    prompt_tokens: int = 1024
    seed: int = 0
    device: str = "cpu"
    threads: int = 1
    workers: int = 1
    time_limit_s: float = 3600.0
    checkpoint_steps: int = 50

    def __post_init__(self) -> None:
        numbers = (self.rank, self.alpha, self.learning_rate, self.passes, self.steps_min)
        limits = (self.answer_tokens, self.prompt_tokens, self.threads, self.checkpoint_steps)
        if min(*numbers, *limits, self.workers, self.time_limit_s) <= 0 or not self.targets:
            raise InvalidInputError("the settings of a training are positive, and name layers")
        if self.mix.teaching <= 0:
            raise InvalidInputError("a batch teaches something")

    @property
    def recipe(self) -> str:
        """Digest of all that the weights depend on, beside the lessons and the model."""
        said = asdict(self)
        for name in ("time_limit_s", "checkpoint_steps"):
            del said[name]
        canonical = orjson.dumps(said, option=orjson.OPT_SORT_KEYS)
        return blake2b(canonical, digest_size=16).hexdigest()
