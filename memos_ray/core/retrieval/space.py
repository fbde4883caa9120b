"""Identity of an embedding space: which vectors may be compared with which."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EmbeddingSpace:
    """One embedding space.

    Two vectors may be compared only when the digests of their spaces are equal; a name alone is
    not enough, because the same model truncated or quantised differently gives other vectors.

    Attributes:
        name: human-readable name of the model and its variant.
        dim: number of components of a vector.
        digest: hex digest over everything that shapes a vector: weights, tokenizer, maximum
            length, quantisation.
    """

    name: str
    dim: int
    digest: str
