"""One settings tree; the only place where the environment is read.

Values come, in falling precedence, from arguments, from `MEMOS_…` environment variables (nested
with two underscores, as in `MEMOS_GATEWAY__PORT=8700`) and from the defaults below.
`docs/settings.md` lists every field; a test keeps it complete.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

Positive = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class VaultSettings(_Section):
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
    usage_flush_s: Seconds = Field(5.0, description="How often usage and access logs are flushed.")
    reply_ttl_s: Seconds = Field(
        7 * 86_400.0, description="How long an idempotency key is remembered."
    )


class EmbedderKind(StrEnum):
    """Where embeddings come from."""

    ONNX = "onnx"
    OPENAI = "openai"
    SENTENCE_TRANSFORMERS = "sentence-transformers"
    CUSTOM = "custom"


class EmbedderSettings(_Section):
    """The embedding model."""

    kind: EmbedderKind = Field(EmbedderKind.ONNX, description="Which adapter embeds texts.")
    model: str | None = Field(None, description="Model name or path, for the kinds that take one.")
    base_url: str | None = Field(None, description="Endpoint, for `openai`.")
    api_key: SecretStr | None = Field(None, description="Credential of the endpoint.")
    dim: Positive | None = Field(None, description="Expected dimension; checked at start.")
    threads: Positive = Field(1, description="Threads of the local model.")
    factory: str | None = Field(
        None, description="`package.module:callable` that returns an embedder, for `custom`."
    )


class VectorSettings(_Section):
    """Milvus."""

    enabled: bool = Field(True, description="Whether embeddings are also kept in Milvus.")
    uri: str | None = Field(
        None, description="Milvus server, as `http://host:19530`; embedded Milvus Lite when absent."
    )
    token: SecretStr | None = Field(None, description="Credential of the Milvus server.")
    timeout_s: Seconds = Field(5.0, description="Longest wait for one call.")


class RecordSettings(_Section):
    """The record store."""

    url: SecretStr | None = Field(
        None, description="`postgresql+psycopg://…`; SQLite files in the data folder when absent."
    )


class BlobSettings(_Section):
    """The blob store."""

    uri: str | None = Field(
        None, description="`s3://bucket/prefix?…`; files in the data folder when absent."
    )


class GovernanceSettings(_Section):
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


class GatewaySettings(_Section):
    """REST."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8700, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    replicas: Positive = Field(1, description="Number of gateway replicas.")
    timeout_s: Seconds = Field(30.0, description="Deadline of one request.")


class ClientSettings(_Section):
    """What the SDK and the command line use when they are told nothing else."""

    url: str | None = Field(None, description="Where the REST door is, as `http://host:8700`.")
    api_key: SecretStr | None = Field(None, description="Credential of the caller.")
    timeout_s: Seconds = Field(35.0, description="Longest wait for one answer over HTTP.")
    attempts: Positive = Field(5, description="Most tries of one request over HTTP.")


class LimitSettings(_Section):
    """What a request may contain at most."""

    text_bytes: Positive = Field(1 << 20, description="UTF-8 length of one memory's text.")
    batch_items: Positive = Field(10_000, description="Items of one bulk call.")
    request_bytes: Positive = Field(64 << 20, description="Body of one HTTP request.")
    tags: Positive = Field(64, description="Tags of one memory.")
    attributes: Positive = Field(64, description="Attributes of one memory.")
    results: Positive = Field(1000, description="Hits of one search page.")


class RetrievalTuning(_Section):
    """Switches of the ranking that operators may want; weights are in `core.retrieval.settings`."""

    speaker_prior: bool = Field(
        True, description="Whether a participant named in the question lifts what they said."
    )
    role_prior: bool = Field(
        True, description="Whether the users' own turns count for more than an assistant's."
    )


class Settings(BaseSettings):
    """All settings."""

    model_config = SettingsConfigDict(
        env_prefix="MEMOS_", env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    data: Path = Field(Path("memos-data"), description="Folder that holds everything durable.")
    namespace: str = Field("memos", description="Ray namespace of the actors.")
    cluster_cpus: Positive = Field(
        16, description="Logical CPUs of the embedded Ray node; actors are light and share cores."
    )
    object_store_bytes: Positive = Field(
        128 << 20, description="Object store of the embedded Ray node."
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
