"""Settings of models and of what becomes of memories before them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, SecretStr, model_validator

from memos_ray.config.fields import EndpointUrl, Factory, Positive, Seconds, Section

if TYPE_CHECKING:
    from memos_ray.core.teaching import GateThresholds, TrainingSettings


class DType(StrEnum):
    """Element type of a model's weights and KV cache."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class EngineKind(StrEnum):
    """What computes a model."""

    VLLM = "vllm"
    CUSTOM = "custom"
    OPENAI = "openai"
    """Not this cluster: an OpenAI-compatible endpoint, without KV caches and without replicas."""


class LimitField(StrEnum):
    """How an endpoint wants the longest answer named."""

    MAX_TOKENS = "max_tokens"
    MAX_COMPLETION_TOKENS = "max_completion_tokens"


class AdapterPromotion(StrEnum):
    """What is done about memories that are worth a lesson by their use."""

    MANUAL = "manual"
    PROPOSE = "propose"
    AUTOMATIC = "automatic"


class ModelSettings(Section):
    """One model and the engine of its replicas, or the endpoint that computes it."""

    name: str = Field(
        min_length=1, pattern=r"[\w.:/-]+", description="Name in the OpenAI-compatible API."
    )
    path: Path | None = Field(
        None,
        description="Folder with configuration, tokenizer and safetensors; not for `openai`.",
    )
    engine: EngineKind = Field(EngineKind.VLLM, description="What computes the model.")
    factory: Factory | None = Field(
        None, description="`package.module:callable` that returns an engine, for `custom`."
    )
    engine_process: bool = Field(
        False,
        description="Whether vLLM's core runs in a process of its own: more tokens a second, a "
        "slower start, and needed where several devices share the model.",
    )
    replicas_min: Positive = Field(1, description="Replicas that always run.")
    replicas_max: Positive = Field(1, description="Replicas under load.")
    ongoing_target: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description="Requests of a replica that the number of replicas is aimed at; as many as "
        "`sequences` when absent.",
    )
    upscale_delay_s: float = Field(
        10.0, ge=0, description="For so long must there be too few replicas before some are added."
    )
    downscale_delay_s: float = Field(
        600.0, ge=0, description="For so long must there be too many before some are ended."
    )
    drain_s: Seconds = Field(
        30.0, description="Longest wait for answers under way when a replica is to end."
    )
    waiting_max: int = Field(
        64, ge=0, description="Requests that may wait for a replica before others are refused."
    )
    holder_requests: int = Field(
        8,
        ge=0,
        description="Requests that a replica may have more than another and still be preferred for "
        "the KV caches it holds; 0 ends the preference.",
    )
    copies_max: Positive = Field(
        2,
        description="Replicas that a much used KV cache or adapter is brought to before its holder "
        "is so busy that requests overflow; 1 for none beyond it.",
    )
    cpus: float = Field(1.0, ge=0, description="Logical CPUs of a replica, for Ray's scheduler.")
    gpus: float = Field(0.0, ge=0, description="GPUs of a replica, for Ray's scheduler.")
    dtype: DType = Field(DType.AUTO, description="Element type; the model's own for `auto`.")
    context_tokens: Positive = Field(4096, description="Longest prompt and answer together.")
    kv_bytes: Positive = Field(256 << 20, description="KV cache of each device of a replica.")
    shelf_bytes: Positive = Field(
        256 << 20, description="KV caches of memories that a replica keeps at hand."
    )
    adapter_slots: int = Field(
        0,
        ge=0,
        description="LoRA adapters that a replica computes with at once; 0 takes none, and costs "
        "nothing.",
    )
    adapter_rank_max: int = Field(16, ge=1, le=512, description="Largest rank of an adapter.")
    adapter_host_bytes: Positive = Field(
        256 << 20, description="Adapters that a replica keeps at hand in host memory."
    )
    adapter_promotion: AdapterPromotion | None = Field(
        None, description="`promotion.adapters` of this model, where it is another one."
    )
    block_tokens: Positive = Field(32, description="Tokens of one KV block.")
    batch_tokens: Positive = Field(
        2048, description="Most tokens computed in one step; longer prompts come in chunks."
    )
    sequences: Positive = Field(
        32, description="Most requests computed at once; for `openai`, sent by one process."
    )
    tensor_parallel: Positive = Field(1, description="Devices that share the model.")
    eager: bool = Field(True, description="Whether graphs are not compiled, for a quick start.")
    answer_s: Seconds = Field(
        600.0, description="Longest time of one answer, waiting for a replica included."
    )
    base_url: EndpointUrl | None = Field(
        None, description="Endpoint, for `openai`, as `https://host/v1`."
    )
    api_key: SecretStr | None = Field(None, description="Credential of the endpoint.")
    remote_name: str | None = Field(
        None, min_length=1, description="Name of the model at the endpoint; `name` when absent."
    )
    limit_field: LimitField = Field(
        LimitField.MAX_TOKENS,
        description="Field that tells the endpoint the longest answer; OpenAI's own newer models "
        "want `max_completion_tokens`.",
    )
    connect_s: Seconds = Field(5.0, description="Longest wait for a connection to the endpoint.")
    silence_s: Seconds = Field(60.0, description="Longest wait for a sign of life of the endpoint.")

    @property
    def folder(self) -> Path:
        """The model's folder; only where replicas compute it."""
        assert self.path is not None
        return self.path

    @property
    def external(self) -> bool:
        """Whether an endpoint computes the model, and no replica."""
        return self.engine is EngineKind.OPENAI

    @model_validator(mode="after")
    def _consistent(self) -> ModelSettings:
        if self.external and self.base_url is None:
            raise ValueError("an engine of kind openai needs base_url as well")
        if not self.external and self.path is None:
            raise ValueError(f"an engine of kind {self.engine} needs path as well")
        if self.engine is EngineKind.CUSTOM and self.factory is None:
            raise ValueError("an engine of kind custom needs factory as well")
        if self.replicas_max < self.replicas_min:
            raise ValueError("replicas_max is less than replicas_min")
        if self.tensor_parallel > 1 and not self.engine_process:
            raise ValueError("several devices need engine_process")
        if self.adapter_promotion not in (None, AdapterPromotion.MANUAL) and not self.adapter_slots:
            raise ValueError("adapter_promotion needs adapter_slots")
        return self


class TeachingSettings(Section):
    """How models learn memories, and what their adapters must reach."""

    rank: int = Field(16, ge=1, le=512, description="Rank of adapters.")
    alpha: float = Field(32.0, gt=0, description="Adapters are scaled by `alpha / rank`.")
    learning_rate: float = Field(2e-4, gt=0, description="Highest learning rate.")
    passes: Positive = Field(40, description="How often each memory is taught.")
    steps_min: Positive = Field(60, description="Steps there are at least.")
    threads: Positive = Field(1, description="Threads of a trainer, on CPUs.")
    device: str = Field("cpu", description="Device of torch: `cpu`, `cuda`.")
    workers: Positive = Field(
        1, le=64, description="Processes that share one training: each takes a part of every batch."
    )
    cpus: float = Field(1.0, ge=0, description="Logical CPUs of each of them, for Ray's scheduler.")
    gpus: float = Field(0.0, ge=0, description="GPUs of each of them, for Ray's scheduler.")
    time_limit_s: Seconds = Field(3600.0, description="Longest training.")
    checkpoint_steps: Positive = Field(50, description="Steps between two checkpoints.")
    recall_min: float = Field(
        0.9, ge=0, le=1, description="Least recall of what was taught, in other words."
    )
    gain_min: float = Field(
        0.2, ge=0, le=1, description="By how much that exceeds the model's own recall at least."
    )
    in_context_loss_max: float = Field(
        0.02, ge=0, le=1, description="How much of what prompts say may be answered worse."
    )
    absent_kept_min: float = Field(
        0.9,
        ge=0,
        le=1,
        description="Share of questions for what nobody said that must be answered as before.",
    )
    paraphraser: str | None = Field(
        None,
        description="Name of the model, one of `models`, that writes further wordings of the "
        "questions of a lesson; it sees the memories. Templates alone when absent.",
    )
    paraphrases: Positive = Field(6, le=32, description="Most of these wordings for each memory.")
    paraphrase_s: Seconds = Field(
        120.0, description="Longest time for writing them, for all memories of a lesson."
    )

    @model_validator(mode="after")
    def _sharing(self) -> TeachingSettings:
        # Their messages go from GPU to GPU, and two of them on one have none.
        if self.workers > 1 and self.device != "cpu" and (self.gpus < 1 or self.gpus % 1):
            raise ValueError("workers that share a training have whole GPUs: gpus is 1 or more")
        return self

    def training(self, model: ModelSettings) -> TrainingSettings:
        """Returns the settings of a training, with a rank that the model's replicas take."""
        from memos_ray.core.teaching import TrainingSettings

        rank = min(self.rank, model.adapter_rank_max)
        return TrainingSettings(
            rank=rank,
            # Scaled by `alpha / rank` as before.
            alpha=self.alpha * rank / self.rank,
            learning_rate=self.learning_rate,
            passes=self.passes,
            steps_min=self.steps_min,
            threads=self.threads,
            workers=self.workers,
            device=self.device,
            time_limit_s=self.time_limit_s,
            checkpoint_steps=self.checkpoint_steps,
        )

    def thresholds(self) -> GateThresholds:
        """Returns what the gate asks for."""
        from memos_ray.core.teaching import GateThresholds

        return GateThresholds(
            recall_min=self.recall_min,
            gain_min=self.gain_min,
            in_context_loss_max=self.in_context_loss_max,
            absent_kept_min=self.absent_kept_min,
        )


class PromotionSettings(Section):
    """Memories that become KV caches, or are learnt, by their use.

    For caches a use counts for half after an hour.
    """

    enabled: bool = Field(
        True,
        description="Whether memories become KV caches by themselves. Otherwise a look for what "
        "use suggests (`memos-ray evolve`) proposes it.",
    )
    enter: float = Field(4.0, gt=0, description="Gain, in uses, from which a memory is put in.")
    leave: float = Field(0.5, description="Gain below which it is taken out again.")
    carry: float = Field(
        0.05,
        ge=0,
        le=1,
        description="What carrying a token through a prompt costs, as a share of computing it: "
        "each prompt lowers the gain of all memories by that.",
    )
    tokens_max: Positive = Field(2048, description="Most tokens of all of them together.")
    tokens_min: Positive = Field(64, description="Fewest for which a cache is worth its while.")
    context_share: float = Field(
        0.25, gt=0, le=1, description="Most of a model's context that they may take."
    )
    pause_s: Seconds = Field(
        60.0, description="Shortest time between two decisions about one namespace and model."
    )
    adapters: AdapterPromotion = Field(
        AdapterPromotion.MANUAL,
        description="Whether models learn what is stable and often used: only when they are taught "
        "(`manual`), when somebody accepts what is proposed (`propose`), or by themselves "
        "(`automatic`). A model may have its own `adapter_promotion`.",
    )
    adapters_enter: float = Field(
        3.0, gt=0, description="How many times over a lesson must pay to be proposed or begun."
    )
    adapters_leave: float = Field(
        1.0, gt=0, description="How many times over it must pay to stay proposed."
    )
    adapters_conversations: Positive = Field(
        3, le=64, description="Different conversations that a memory must have been found in."
    )
    adapters_settled_s: float = Field(
        86_400.0, ge=0, description="How long a memory must not have been changed."
    )
    adapters_half_life_s: Seconds = Field(
        86_400.0, description="After how long a use counts for half, towards a lesson."
    )
    adapters_horizon_s: Seconds = Field(
        30 * 86_400.0,
        le=3_155_760_000.0,
        description="Over how long a lesson's gain is reckoned; what ends before is not taught.",
    )
    adapters_lesson_share: float = Field(
        0.1,
        ge=0,
        description="What a second of a lesson, for which nobody waits, counts for, compared to "
        "a second of a prompt.",
    )
    adapters_memories_max: Positive = Field(
        200, le=1000, description="Most memories of an adapter that is made by their use."
    )
    adapters_pause_s: Seconds = Field(
        3600.0,
        description="Shortest time between two `automatic` lessons of a namespace and model.",
    )

    @model_validator(mode="after")
    def _hysteresis(self) -> PromotionSettings:
        if self.leave >= self.enter:
            raise ValueError("leave is not less than enter")
        if self.adapters_leave >= self.adapters_enter:
            raise ValueError("adapters_leave is not less than adapters_enter")
        return self
