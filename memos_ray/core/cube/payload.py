"""The three forms of memory: the closed union `Payload`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from memos_ray.core.crossing import crossing


class Form(StrEnum):
    """How a memory is held: searchable text, KV blocks, or an adapter."""

    PLAINTEXT = "plaintext"
    ACTIVATION = "activation"
    PARAMETER = "parameter"


@crossing
@dataclass(frozen=True, slots=True)
class Attachment:
    """A multimodal reference (image, audio, file) by content hash; the bytes rest as a blob.

    Attributes:
        digest: blake2b-256 of the bytes, hex.
        media_type: IANA media type, such as `image/png`.
        size_bytes: length of the blob; 0 when only a location is known.
        uri: where it came from, when it is not held as a blob.
    """

    digest: str
    media_type: str
    size_bytes: int = 0
    uri: str | None = None


@crossing
@dataclass(frozen=True, slots=True)
class Plaintext:
    """Text found by search and put into the prompt."""

    text: str
    language: str | None = None
    attachments: tuple[Attachment, ...] = ()
    form: Literal[Form.PLAINTEXT] = Form.PLAINTEXT


@crossing
@dataclass(frozen=True, slots=True)
class ActivationRef:
    """KV blocks of one text under one model; the text is that of the memory's sources.

    Attributes:
        digest: names the bytes; see `core.activation.KvManifest.name`.
        engine: fingerprint of the engine that built it (model, tokenizer, dtype, layout).
        adapter: digest of the adapter that was active, if any.
        tokens: number of prompt tokens covered.
    """

    digest: str
    engine: str
    tokens: int
    size_bytes: int
    adapter: str | None = None
    form: Literal[Form.ACTIVATION] = Form.ACTIVATION


@crossing
@dataclass(frozen=True, slots=True)
class ParameterRef:
    """A LoRA adapter for one base model; the tensors rest as a safetensors blob."""

    digest: str
    base_model: str
    rank: int
    size_bytes: int
    form: Literal[Form.PARAMETER] = Form.PARAMETER


@crossing
@dataclass(frozen=True, slots=True)
class ArchivedRef:
    """Stands in a store for content that rests in an archive file; readers get the content.

    Attributes:
        blob: digest of the file.
        row: the version's place in it.
        form: of the content.
    """

    blob: str
    row: int
    form: Form


Payload = Plaintext | ActivationRef | ParameterRef | ArchivedRef
