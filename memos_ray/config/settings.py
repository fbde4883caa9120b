"""One settings tree; the only place where the environment is read.

Values come, in falling precedence, from arguments, from `MEMOS_…` environment variables (nested
with two underscores, as in `MEMOS_GATEWAY__PORT=8700`) and from the defaults below.
`docs/settings.md` lists every field; a test keeps it complete.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from memos_ray.config.dialogue import DialogueSettings
from memos_ray.config.extraction import ExtractionSettings
from memos_ray.config.fields import (
    BlobUri,
    Factory,
    HttpUrl,
    MilvusUri,
    Positive,
    PostgresUrl,
    Seconds,
    Section,
)
from memos_ray.config.lifecycle import LifecycleSettings
from memos_ray.config.models import ModelSettings, PromotionSettings, TeachingSettings
from memos_ray.config.pipelines import PipelineSettings
from memos_ray.errors import ConfigurationError

ENV_PREFIX = "MEMOS_"
ENV_NESTING = "__"


class KvRetention(StrEnum):
    """Which KV caches are kept."""

    COST = "cost"
    LRU = "lru"
    LABEL = "label"
    SIMILARITY = "similarity"


class VaultSettings(Section):
    """Vault shards and their partitions."""

    shards: Positive = Field(1, description="Number of shard actors.")
    partitions: Positive = Field(
        16, le=65536, description="Number of partitions; fixed when the data folder is created."
    )
    group_commit_max: Positive = Field(256, description="Most writes in one commit.")
    queue_max: Positive = Field(20_000, description="Waiting writes before a shard sheds load.")
    resident_bytes: Positive = Field(
        1 << 30, description="RAM budget of a shard for resident indexes."
    )
    body_cache_bytes: Positive = Field(
        64 << 20, description="RAM budget of a shard for decoded memories."
    )
    kv_bytes: Positive = Field(
        64 << 20, description="Object-store budget of a shard for KV caches of memories."
    )
    kv_tenant_bytes: Positive | None = Field(
        None, description="Share of one tenant in `kv_bytes`; all of it when absent."
    )
    kv_rest_bytes: int = Field(
        1 << 30, ge=0, description="Budget of a shard for KV caches at rest, as files; 0 for none."
    )
    kv_retention: KvRetention = Field(
        KvRetention.COST,
        description="Which KV caches go when there is not room for all: those that save the fewest "
        "seconds of prefill for their bytes (`cost`), those not used for longest (`lru`), those of "
        "the last label (`label`), or those least similar to the last questions (`similarity`).",
    )
    kv_labels: tuple[Literal["shared", "conversation"], ...] = Field(
        ("shared", "conversation"),
        description="For `label`: which caches stay longest, those that all prompts of a namespace "
        "begin with or those of conversations.",
    )
    conversation_bytes: Positive = Field(
        32 << 20, description="RAM budget of a shard for what conversations were computed as."
    )
    preload_memories: int = Field(
        64,
        ge=0,
        le=1024,
        description="Memories that are brought into memory for the next turn of a conversation; 0 "
        "for none.",
    )
    preload_bytes: Positive = Field(
        1 << 20, description="Most bytes of them that are fetched for one turn."
    )
    usage_flush_s: Seconds = Field(5.0, description="How often usage and access logs are flushed.")
    reply_ttl_s: Seconds = Field(
        7 * 86_400.0, description="How long an idempotency key is remembered."
    )

    @model_validator(mode="after")
    def _room_for_every_shard(self) -> VaultSettings:
        if self.shards > self.partitions:
            raise ValueError("there are more shards than partitions")
        return self


class EmbedderKind(StrEnum):
    """Where embeddings come from."""

    ONNX = "onnx"
    OPENAI = "openai"
    SENTENCE_TRANSFORMERS = "sentence-transformers"
    CUSTOM = "custom"


class EmbedderSettings(Section):
    """The embedding model."""

    kind: EmbedderKind = Field(EmbedderKind.ONNX, description="Which adapter embeds texts.")
    model: str | None = Field(None, description="Model name or path, for the kinds that take one.")
    base_url: HttpUrl | None = Field(None, description="Endpoint, for `openai`.")
    api_key: SecretStr | None = Field(None, description="Credential of the endpoint.")
    dim: Positive | None = Field(None, description="Expected dimension; checked at start.")
    threads: Positive = Field(1, description="Threads of the local model.")
    factory: Factory | None = Field(
        None, description="`package.module:callable` that returns an embedder, for `custom`."
    )

    @model_validator(mode="after")
    def _complete(self) -> EmbedderSettings:
        missing = [name for name in _NEEDED[self.kind] if getattr(self, name) is None]
        if missing:
            raise ValueError(f"an embedder of kind {self.kind} needs {', '.join(missing)} as well")
        return self


_NEEDED: dict[EmbedderKind, tuple[str, ...]] = {
    EmbedderKind.ONNX: (),
    EmbedderKind.OPENAI: ("base_url", "model", "dim"),
    EmbedderKind.SENTENCE_TRANSFORMERS: ("model",),
    EmbedderKind.CUSTOM: ("factory",),
}


class VectorSettings(Section):
    """Milvus."""

    enabled: bool = Field(True, description="Whether embeddings are also kept in Milvus.")
    uri: MilvusUri | None = Field(
        None, description="Milvus server, as `http://host:19530`; embedded Milvus Lite when absent."
    )
    token: SecretStr | None = Field(None, description="Credential of the Milvus server.")
    timeout_s: Seconds = Field(5.0, description="Longest wait for one call.")


class RecordSettings(Section):
    """The record store."""

    url: PostgresUrl | None = Field(
        None, description="`postgresql+psycopg://…`; SQLite files in the data folder when absent."
    )


class BlobSettings(Section):
    """The blob store."""

    uri: BlobUri | None = Field(
        None, description="`s3://bucket/prefix?…`; files in the data folder when absent."
    )


class GovernanceSettings(Section):
    """Policy snapshots."""

    lease_s: Seconds = Field(30.0, description="How long a policy snapshot is valid unrenewed.")
    signing_key: SecretStr | None = Field(
        None,
        description="Ed25519 private key, base64 of 32 bytes; a file in the data folder if absent.",
    )
    admin_key: SecretStr | None = Field(
        None, description="The first administrator's API key; a file in the data folder if absent."
    )
    default_tenant: str = Field("default", description="Tenant made at the first start.")


class GatewaySettings(Section):
    """REST."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8700, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    replicas: Positive = Field(1, description="Number of gateway replicas.")
    timeout_s: Seconds = Field(30.0, description="Deadline of one request.")


class ClientSettings(Section):
    """What the SDK and the command line use when they are told nothing else."""

    url: HttpUrl | None = Field(None, description="Where the REST door is, as `http://host:8700`.")
    api_key: SecretStr | None = Field(None, description="Credential of the caller.")
    role: str | None = Field(
        None, description="Role that the command line uses; see `memos-ray persona use`."
    )
    timeout_s: Seconds = Field(35.0, description="Longest wait for one answer over HTTP.")
    attempts: Positive = Field(5, description="Most tries of one request over HTTP.")


class LimitSettings(Section):
    """What a request may contain at most."""

    text_bytes: Positive = Field(1 << 20, description="UTF-8 length of one memory's text.")
    batch_items: Positive = Field(10_000, description="Items of one bulk call.")
    request_bytes: Positive = Field(64 << 20, description="Body of one HTTP request.")
    tags: Positive = Field(64, description="Tags of one memory.")
    attributes: Positive = Field(64, description="Attributes of one memory.")
    results: Positive = Field(1000, description="Hits of one search page.")
    searches_at_once: Positive = Field(
        16,
        description="Searches that a process has under way at once; others wait, and tenants take "
        "turns. One tenant has at most three quarters of these places.",
    )
    embeddings_at_once: Positive | None = Field(
        None,
        description="Queries that a process reads and embeds at once, in the same turns; as many "
        "as it has processors when absent. More is better where an endpoint embeds.",
    )
    tenant_calls_per_s: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Calls of one tenant a second, in each process; no limit when absent."
    )
    tenant_burst: Positive = Field(
        100, description="Calls of one tenant at once, where they are limited."
    )

    @model_validator(mode="after")
    def _text_fits_in_a_request(self) -> LimitSettings:
        if self.text_bytes > self.request_bytes:
            raise ValueError("text_bytes is more than request_bytes")
        return self


class RetrievalTuning(Section):
    """Switches of the ranking that operators may want; weights are in `core.retrieval.settings`."""

    speaker_prior: bool = Field(
        True, description="Whether a participant named in the question lifts what they said."
    )
    role_prior: bool = Field(
        True, description="Whether the users' own turns count for more than an assistant's."
    )


class _Explained(BaseSettings):
    """Settings whose errors are ours."""

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _explained(error) from None
        except SettingsError as error:
            # Such as a section that is given as a whole, but not in JSON.
            raise ConfigurationError(f"the settings cannot be read: {error}") from None


class Settings(_Explained):
    """All settings.

    Raises:
        ConfigurationError: a value is not valid, or contradicts another one; names the fields.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter=ENV_NESTING, frozen=True, extra="forbid"
    )

    data: Path = Field(Path("memos-data"), description="Folder that holds everything durable.")
    namespace: str = Field("memos", min_length=1, description="Ray namespace of the actors.")
    cluster_cpus: Positive = Field(
        16, description="Logical CPUs of the embedded Ray node; actors are light and share cores."
    )
    object_store_bytes: int = Field(
        128 << 20, ge=75 << 20, description="Object store of the embedded Ray node."
    )
    vault: VaultSettings = VaultSettings()
    embedder: EmbedderSettings = EmbedderSettings()
    records: RecordSettings = RecordSettings()
    vectors: VectorSettings = VectorSettings()
    blobs: BlobSettings = BlobSettings()
    governance: GovernanceSettings = GovernanceSettings()
    gateway: GatewaySettings = GatewaySettings()
    client: ClientSettings = ClientSettings()
    limits: LimitSettings = LimitSettings()
    retrieval: RetrievalTuning = RetrievalTuning()
    promotion: PromotionSettings = PromotionSettings()
    teaching: TeachingSettings = TeachingSettings()
    pipelines: PipelineSettings = PipelineSettings()
    lifecycle: LifecycleSettings = LifecycleSettings()
    extraction: ExtractionSettings = ExtractionSettings()
    dialogue: DialogueSettings = DialogueSettings()
    models: tuple[ModelSettings, ...] = Field(
        (), description="Models that answer conversations, as JSON; none when empty."
    )

    @model_validator(mode="after")
    def _models_by_name(self) -> Settings:
        names = [model.name for model in self.models]
        if len(set(names)) < len(names):
            raise ValueError("two models have one name")
        paraphraser = self.teaching.paraphraser
        if paraphraser is not None and paraphraser not in names:
            raise ValueError("teaching.paraphraser is none of the models")
        if self.extraction.model is not None and self.extraction.model not in names:
            raise ValueError("extraction.model is none of the models")
        if self.dialogue.model is not None and self.dialogue.model not in names:
            raise ValueError("dialogue.model is none of the models")
        return self

    @property
    def served_models(self) -> tuple[ModelSettings, ...]:
        """The models that replicas of this cluster compute."""
        return tuple(model for model in self.models if not model.external)


def env_name(*path: str) -> str:
    """Returns the environment variable of a field: `("gateway", "port")` is its path."""
    return ENV_PREFIX + ENV_NESTING.join(path).upper()


def _explained(error: ValidationError) -> ConfigurationError:
    """Names the fields and what is wrong with them; never quotes a value, which may be secret."""
    found: list[str] = []
    fields: list[str] = []
    for each in error.errors(include_url=False, include_input=False, include_context=False):
        fields.append(".".join(map(str, each["loc"])) or "settings")
        found.append(f"{fields[-1]}: {each['msg'].removeprefix('Value error, ')}")
    return ConfigurationError(
        f"the settings are not valid: {'; '.join(found)}",
        fields=fields,
        variables=[env_name(*field.split(".")) for field in fields],
    )
