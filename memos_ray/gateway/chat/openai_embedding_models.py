"""Bodies of `/v1/embeddings`."""

from __future__ import annotations

from base64 import b64encode
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from memos_ray.core.generation import estimated_tokens
from memos_ray.gateway.chat.openai_models import Answer
from memos_ray.gateway.fields import Label, Model, Name, printable
from memos_ray.ports import Vectors

Encoding = Literal["float", "base64"]


def _texts(value: Any) -> Any:
    """Makes a list of a single text."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and any(isinstance(one, int | list) for one in value):
        raise ValueError("must be texts; tokens are not understood here")
    return value


_Input = Annotated[
    str, StringConstraints(min_length=1, max_length=32_768), AfterValidator(printable)
]


class EmbeddingBody(Model):
    """A request for embeddings, as in OpenAI's API."""

    model: Name
    input: Annotated[
        list[_Input], BeforeValidator(_texts, str | list[str]), Field(min_length=1, max_length=2048)
    ]
    encoding_format: Encoding = "float"
    dimensions: Annotated[int, Field(ge=1)] | None = None
    user: Label | None = None


class Embedding(Answer):
    """The vector of one text; for `base64` its float32 components, the lowest byte first."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingUsage(Answer):
    """Tokens of the texts: no count, but an estimate from above."""

    prompt_tokens: int
    total_tokens: int
    estimated: Literal[True] = True


class Embeddings(Answer):
    """The vectors, in the order of the texts."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage

    @classmethod
    def of(cls, body: EmbeddingBody, vectors: Vectors) -> Embeddings:
        """Makes the answer to a request."""
        data = [
            Embedding(index=index, embedding=_encoded(row, body.encoding_format))
            for index, row in enumerate(vectors)
        ]
        tokens = sum(map(estimated_tokens, body.input))
        usage = EmbeddingUsage(prompt_tokens=tokens, total_tokens=tokens)
        return cls(data=data, model=body.model, usage=usage)


def _encoded(row: Vectors, encoding: Encoding) -> list[float] | str:
    if encoding == "base64":
        return b64encode(row.astype("<f4").tobytes()).decode()
    components: list[float] = row.tolist()
    return components
