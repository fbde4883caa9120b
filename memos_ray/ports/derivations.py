"""Rows beside the memories: what was made of them, what is proposed, said and set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Derivation:
    """Something made of memories that rests as a blob, and goes when they change.

    Attributes:
        kind: what it is, such as `kv`.
        name: unique within tenant and kind.
        blob: digest of the bytes; they may have been lost, but are never others.
        size_bytes: their length.
        body: what its kind needs to know of it; no content of a memory.
    """

    tenant: str
    kind: str
    name: str
    namespace: str
    blob: str
    size_bytes: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Among:
    """Which rows of a kind are wanted.

    Attributes:
        namespace: those of one namespace; all of the tenant when absent.
        names: those of these names; all when absent.
    """

    tenant: str
    namespace: str | None = None
    names: tuple[str, ...] | None = None


class DerivationsPort(Protocol):
    """The part of `RecordStorePort` that is about these rows."""

    def derivations(
        self, partition: int, kind: str, among: Among | None = None
    ) -> list[Derivation]:
        """Returns what there is of a kind, by tenant and name; by an index, where it is narrowed.

        Args:
            among: what is wanted; everything of the partition when absent.
        """
        ...

    def save_derivation(self, partition: int, epoch: int, row: Derivation) -> None:
        """Stores a row; replaces the one of the same name.

        Raises:
            FencedError: another epoch holds the partition; nothing was written.
        """
        ...

    def save_derivations(self, partition: int, epoch: int, rows: Sequence[Derivation]) -> None:
        """Stores rows in one transaction; else as `save_derivation`."""
        ...

    def forget_derivations(
        self, partition: int, epoch: int, tenant: str, kind: str, names: Sequence[str]
    ) -> None:
        """Removes rows; absent ones are fine.

        Raises:
            FencedError: another epoch holds the partition; nothing was removed.
        """
        ...
