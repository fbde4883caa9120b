"""From settings to the parts that actors and gateways work with."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache

from memos_ray.actors.extraction.extraction import ExtractionParts
from memos_ray.actors.parameter.paraphrasing import Paraphrasing, ParaphrasingTrainer
from memos_ray.actors.vault.shard_parts import KvParts
from memos_ray.cluster.folder import DataFolder
from memos_ray.cluster.objects import RayObjects
from memos_ray.cluster.trainers import RayTrainer
from memos_ray.config import (
    AdapterPromotion,
    EmbedderKind,
    EmbedderSettings,
    ModelSettings,
    Settings,
)
from memos_ray.core.retrieval.settings import RetrievalSettings
from memos_ray.core.retrieval.space import EmbeddingSpace
from memos_ray.core.scheduling import Learning, Promoting
from memos_ray.core.teaching import TrainingSettings
from memos_ray.errors import ConfigurationError, DimensionMismatchError
from memos_ray.ports import (
    BlobStorePort,
    ControlStorePort,
    EmbedderPort,
    ExtractorPort,
    ModelPort,
    RecordStorePort,
    TrainerPort,
    VectorStorePort,
)


def record_store(settings: Settings) -> RecordStorePort:
    """Opens the record store: PostgreSQL when a URL is set, else SQLite in the data folder."""
    from memos_ray.adapters.archived_contents import ArchivedContents
    from memos_ray.adapters.sql.records import SqlRecordStore

    contents = ArchivedContents(cache(lambda: blob_store(settings)))
    if settings.records.url is not None:
        return SqlRecordStore.clustered(settings.records.url.get_secret_value(), contents)
    return SqlRecordStore.embedded(DataFolder(settings.data).records, contents)


def control_store(settings: Settings) -> ControlStorePort:
    """Opens the control plane's store, beside the record store."""
    from memos_ray.adapters.sql.control import SqlControlStore

    if settings.records.url is not None:
        return SqlControlStore.clustered(settings.records.url.get_secret_value())
    return SqlControlStore.embedded(DataFolder(settings.data).records)


def vector_store(settings: Settings, shard: str) -> VectorStorePort | None:
    """Opens Milvus: the server when a URI is set, else a Lite file of this shard's own."""
    from memos_ray.adapters.milvus import MilvusSettings, open_vector_store

    chosen = settings.vectors
    if not chosen.enabled:
        return None
    token = chosen.token.get_secret_value() if chosen.token else ""
    uri = chosen.uri or str(DataFolder(settings.data).vectors / shard)
    return open_vector_store(uri, MilvusSettings(token=token, search_s=chosen.timeout_s))


def blob_store(settings: Settings) -> BlobStorePort:
    """Opens the blob store: S3 when a URI is set, else files in the data folder."""
    from memos_ray.adapters.blobs import BlobStore

    if settings.blobs.uri is not None:
        return BlobStore.from_uri(settings.blobs.uri)
    return BlobStore.local(DataFolder(settings.data).blobs)


def kv_parts(settings: Settings) -> KvParts | None:
    """Makes what KV caches need, where there are models."""
    if not settings.models:
        return None
    from memos_ray.serving.adapter_replicas import ServedAdapters
    from memos_ray.serving.handles import ReplicaKvBuilder

    return KvParts(
        builder=ReplicaKvBuilder(
            [model.name for model in settings.served_models],
            [model.name for model in settings.models if model.external],
        ),
        objects=RayObjects(),
        blobs=cache(lambda: blob_store(settings)),
        trainer=_trainer(settings),
        promoting=_promoting(settings),
        promotion_pause_s=settings.promotion.pause_s,
        replicas=ServedAdapters(),
        learning=_learning(settings),
    )


def model_port(settings: ModelSettings) -> ModelPort:
    """Reaches a model: its replicas, or the endpoint that computes it."""
    if not settings.external:
        from memos_ray.serving.handles import ModelHandle

        return ModelHandle(settings.name, settings.answer_s)
    from memos_ray.adapters.openai_model import OpenAIModel

    # The settings' own validation has seen to that.
    assert settings.base_url is not None
    key = settings.api_key
    return OpenAIModel(
        base_url=settings.base_url,
        model=settings.remote_name or settings.name,
        api_key=key.get_secret_value() if key else None,
        limit_field=settings.limit_field.value,
        at_once=settings.sequences,
        waiting=settings.waiting_max,
        connect_s=settings.connect_s,
        silence_s=settings.silence_s,
        answer_s=settings.answer_s,
    )


def extraction_parts(settings: Settings) -> ExtractionParts:
    """Makes what reads memories for facts, where the settings name a model for it."""
    chosen = settings.extraction
    if chosen.model is None:
        return ExtractionParts(settings=chosen)
    from memos_ray.adapters.model_extractor import ModelExtractor

    model = next(one for one in settings.models if one.name == chosen.model)
    extractor = ModelExtractor(
        model.name,
        model_port(model),
        limit_s=chosen.answer_s,
        structured=chosen.structured,
        temperature=chosen.temperature,
    )
    if not model.external:
        room = max(model.context_tokens - chosen.answer_tokens, 1)
        chosen = chosen.model_copy(update={"prompt_tokens": min(chosen.prompt_tokens, room)})
    return ExtractionParts(extractor, chosen)


def completer(settings: Settings, models: Mapping[str, ModelPort]) -> ExtractorPort | None:
    """Makes what completes questions in a dialogue, where the settings name a model for it.

    Args:
        models: of this process, whose connections it shares; whoever opened them closes them.
    """
    chosen = settings.dialogue
    if chosen.model is None:
        return None
    from memos_ray.adapters.model_extractor import ModelExtractor

    return ModelExtractor(
        chosen.model,
        models[chosen.model],
        limit_s=chosen.answer_s,
        structured=chosen.structured,
        temperature=chosen.temperature,
    )


def _trainer(settings: Settings) -> TrainerPort:
    trainer, chosen = RayTrainer(settings), settings.teaching
    if chosen.paraphraser is None:
        return trainer
    from memos_ray.serving.teaching.phrasings import phrasings_for

    by_name = {model.name: model for model in settings.models}
    how = Paraphrasing(
        name=chosen.paraphraser,
        model=model_port(by_name[chosen.paraphraser]),
        phrasings=lambda name: phrasings_for(by_name[name].folder),
        seed=TrainingSettings().seed,
        most=chosen.paraphrases,
        limit_s=chosen.paraphrase_s,
    )
    return ParaphrasingTrainer(trainer, how)


def _promoting(settings: Settings) -> dict[str, Promoting]:
    chosen = settings.promotion
    return {
        model.name: Promoting(
            automatic=chosen.enabled,
            enter=chosen.enter,
            leave=chosen.leave,
            carry=chosen.carry,
            tokens_max=min(chosen.tokens_max, int(chosen.context_share * model.context_tokens)),
            tokens_min=chosen.tokens_min,
        )
        for model in settings.served_models
    }


def _learning(settings: Settings) -> dict[str, Learning]:
    chosen = settings.promotion
    found = {}
    for model in settings.served_models:
        wanted = model.adapter_promotion or chosen.adapters
        if not model.adapter_slots or wanted is AdapterPromotion.MANUAL:
            continue
        found[model.name] = Learning(
            automatic=wanted is AdapterPromotion.AUTOMATIC,
            enter=chosen.adapters_enter,
            leave=chosen.adapters_leave,
            conversations=chosen.adapters_conversations,
            settled_s=chosen.adapters_settled_s,
            half_life_s=chosen.adapters_half_life_s,
            horizon_s=chosen.adapters_horizon_s,
            lesson_share=chosen.adapters_lesson_share,
            memories_max=chosen.adapters_memories_max,
            pause_s=chosen.adapters_pause_s,
        )
    return found


def models(settings: Settings) -> dict[str, ModelPort]:
    """Makes the models that answer conversations, by name."""
    return {model.name: model_port(model) for model in settings.models}


def embedder(settings: EmbedderSettings) -> EmbedderPort:
    """Makes the embedder.

    Raises:
        ConfigurationError: a setting that the kind needs is missing.
        DimensionMismatchError: the model has another dimension than the settings expect.
        EmbedderError: the model cannot be had.
    """
    made = _EMBEDDERS[settings.kind](settings)
    _check(settings, made.space)
    return made


def prepare_embedder(settings: EmbedderSettings) -> None:
    """Builds the bundled model where it is wanted and missing; does not load it.

    Raises:
        ConfigurationError: the package with its weights is not installed.
        DimensionMismatchError: the model has another dimension than the settings expect.
        EmbedderError: it could not be built or stored.
    """
    if settings.kind is EmbedderKind.ONNX:
        from memos_ray.adapters.onnx_embedder import ensure_model, minilm_space

        _check(settings, minilm_space())
        ensure_model()


def _check(settings: EmbedderSettings, space: EmbeddingSpace) -> None:
    if settings.dim is not None and space.dim != settings.dim:
        raise DimensionMismatchError(
            "the model has another dimension", expected=settings.dim, found=space.dim
        )


def retrieval_settings(settings: Settings) -> RetrievalSettings:
    """Makes the ranking's settings: the defaults with the operator's switches."""
    defaults = RetrievalSettings()
    weights = defaults.weights
    if not settings.retrieval.speaker_prior:
        weights = replace(weights, speaker=0.0)
    if not settings.retrieval.role_prior:
        weights = replace(weights, role=0.0)
    return replace(defaults, weights=weights)


def _onnx(settings: EmbedderSettings) -> EmbedderPort:
    from memos_ray.adapters.onnx_embedder import OnnxEmbedder

    return OnnxEmbedder(threads=settings.threads)


def _openai(settings: EmbedderSettings) -> EmbedderPort:
    from memos_ray.adapters.openai_embedder import OpenAIEmbedder

    # The settings' own validation has seen to that.
    assert settings.base_url and settings.model and settings.dim
    key = settings.api_key
    return OpenAIEmbedder(
        base_url=settings.base_url,
        model=settings.model,
        dim=settings.dim,
        api_key=key.get_secret_value() if key else None,
    )


def _sentence_transformers(settings: EmbedderSettings) -> EmbedderPort:
    from memos_ray.adapters.sentence_transformers_embedder import SentenceTransformersEmbedder

    assert settings.model
    return SentenceTransformersEmbedder(settings.model)


def _custom(settings: EmbedderSettings) -> EmbedderPort:
    assert settings.factory
    module, _, name = settings.factory.partition(":")
    try:
        factory: Callable[[], EmbedderPort] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(
            "the embedder's factory is not there", field="embedder.factory", module=module
        ) from error
    return factory()


_EMBEDDERS: dict[EmbedderKind, Callable[[EmbedderSettings], EmbedderPort]] = {
    EmbedderKind.ONNX: _onnx,
    EmbedderKind.OPENAI: _openai,
    EmbedderKind.SENTENCE_TRANSFORMERS: _sentence_transformers,
    EmbedderKind.CUSTOM: _custom,
}
